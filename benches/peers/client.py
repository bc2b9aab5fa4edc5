"""The reference's own client, and its local mode, as a program that peers.py talks to over its standard streams.

    client.py server URL     requests through its client, several callers at once
    client.py local FOLDER   the model in this process, on transformers

Every line of input is {"requests": [...], "callers": N, "batch": bool, "tokens": N}; every line of output is the results in
order: {"results": [{"seconds", "scores", "ranking"} or {"error"}], "seconds", "cpu_seconds", "peak_resident_bytes"}.
"""

import json
import logging
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor

logging.disable(logging.CRITICAL)
# Output of libraries must not mix with the answers.
answers, sys.stdout = sys.stdout, sys.stderr


def opened(kind, place):
    import rewardanything

    if kind == "server":
        client = rewardanything.Client(place, timeout=600)
        return client.judge, client.judge_batch
    model = rewardanything.from_pretrained(place, device="cpu")

    def judge(tokens, **request):
        # Greedy, as all others.
        return model.judge(**request, do_sample=False, temperature=None, top_p=None, max_new_tokens=tokens)

    return judge, None


def main():
    judge, judge_batch = opened(*sys.argv[1:3])
    local = judge_batch is None
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        options = {"tokens": task["tokens"]} if local else {}

        def one(request):
            begun = time.perf_counter()
            try:
                result = judge(**request, **options)
                return {"seconds": time.perf_counter() - begun, "scores": result.scores, "ranking": list(result.ranking)}
            except Exception as error:  # Every error is counted.
                return {"seconds": time.perf_counter() - begun, "error": f"{type(error).__name__}: {error}"}

        cpu, begun = time.process_time(), time.perf_counter()
        if task["batch"]:
            try:
                results = [{"scores": one.scores, "ranking": list(one.ranking)} for one in judge_batch(task["requests"])]
            except Exception as error:
                results = [{"error": f"{type(error).__name__}: {error}"}] * len(task["requests"])
        else:
            with ThreadPoolExecutor(1 if local else task["callers"]) as pool:
                results = list(pool.map(one, task["requests"]))
        seconds = time.perf_counter() - begun
        answer = {
            "results": results,
            "seconds": seconds,
            "cpu_seconds": time.process_time() - cpu,
            "peak_resident_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
        }
        print(json.dumps(answer), file=answers, flush=True)


main()
