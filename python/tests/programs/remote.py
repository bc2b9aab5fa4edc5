"""A program for the reference package: judges behind HTTP."""

import sys

from rewardanything import Client
from rewardanything.client import Client as SameClient

assert Client is SameClient
client = Client(sys.argv[1], api_key="key", timeout=60.0, max_retries=1, headers={"X-Team": "evaluation"})
assert client.health_check() is True

responses = {"assistant_a": "Start with Python, practice daily.", "assistant_b": "Read books and hope for the best."}
result = client.judge("Prefer helpful responses.", "How to learn programming?", responses, timeout=30)
assert sorted(result.ranking) == sorted(responses)

requests = [{"principle": "Prefer short responses.", "prompt": "Hi", "responses": responses} for _ in range(3)]
for result in client.judge_batch(requests):
    print(f"Winner: {result.ranking[0]}")
print("done")
