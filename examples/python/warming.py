#!/usr/bin/env python3
"""A principle that is computed before the first judgment and kept until the last one.

python examples/python/warming.py demo/dicast-demo.gguf
"""

import sys
import time
from typing import Dict, List

import dicast

PRINCIPLE = "I prefer short and concise responses over long and detailed ones."
RESPONSES = {"short": "It depends.", "long": "There are many ways to look at this question, and each has its merits."}


def requests() -> List[Dict[str, object]]:
    """Requests whose prompts begin with the same principle."""
    prompts = ("How do I learn Python?", "What is rain?", "Why is the sky blue?")
    return [{"principle": PRINCIPLE, "prompt": prompt, "responses": RESPONSES} for prompt in prompts]


def main() -> None:
    """Judges a few requests while their principle is kept."""
    if len(sys.argv) != 2:
        sys.exit("usage: warming.py MODEL.gguf")
    with dicast.from_pretrained(sys.argv[1]) as judge:
        began = time.perf_counter()
        # With a prompt as the second argument, it is kept too: then only the responses are computed.
        with judge.warm(PRINCIPLE) as pin:
            print(f"{pin.tokens} tokens are kept after {(time.perf_counter() - began) * 1000:.0f} ms")
            for request, result in zip(requests(), judge.judge_batch(requests())):
                usage = result.usage
                print(
                    f"{request['prompt']:<24} best: {result.ranking[0]}; "
                    f"{usage.reused_tokens} of {usage.prompt_tokens} prompt tokens were there already"
                )


if __name__ == "__main__":
    main()
