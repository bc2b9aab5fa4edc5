"""The reference's own client, as it comes from the package index, with a server. Argument: its URL."""

import sys

sys.path.insert(0, sys.argv[2])

from rewardanything.client import Client

client = Client(sys.argv[1], timeout=20.0, max_retries=0)
assert client.health_check()

result = client.judge("Be brief.", "How?", {"long one": "score=2", "it's \"quoted\"": "score=5", "model-1": "score=3"})
assert result.scores == {"long one": 2, "it's \"quoted\"": 5, "model-1": 3}, result
assert result.ranking == ["it's \"quoted\"", "model-1", "long one"], result
assert "3 responses" in result.reasoning, result

real = client.judge("Be brief.", "How?", {"a": "score=1", "b": "score=4"}, mask_responses=False)
assert real.scores == {"a": 1, "b": 4}, real

requests = [
    {"principle": "p", "prompt": str(n), "responses": {"a": f"score={n % 5 + 1}", "b": "SLOW" if n % 3 == 0 else "score=1"}}
    for n in range(20)
]
results = client.judge_batch(requests)
assert [result.scores["a"] for result in results] == [n % 5 + 1 for n in range(20)], results

for call in (
    lambda: client.judge("p", "q", {"a": "FAIL"}),
    lambda: client.judge_batch([requests[1], {"principle": "p", "prompt": "q", "responses": {"a": "FAIL"}}]),
    lambda: client.judge("p", "q", {}),
):
    try:
        answer = call()
    except Exception:
        continue
    raise AssertionError(f"a failure came back as {answer}")
print("client works")
