"""A program for the reference package: judges in this process."""

import sys

import rewardanything
from rewardanything import RewardRequest, RewardResult
from rewardanything.local import RewardModel

reward_model = rewardanything.from_pretrained(
    sys.argv[1],
    device="cpu",
    torch_dtype="auto",
    trust_remote_code=True,
    generation_config={"max_new_tokens": 4096, "temperature": 0.1, "do_sample": True, "top_p": 0.9},
)
assert isinstance(reward_model, RewardModel)

principle = "I prefer clear, concise and helpful responses over long and detailed ones."
prompt = "How do I cook pasta?"
responses = {
    "gpt4": "Boil salted water, cook the pasta for nine minutes, drain it.",
    "claude": "First of all, let us consider what pasta is. " + "It is a food with a long and eventful history. " * 8,
}

result = reward_model.judge(principle, prompt, responses)
assert isinstance(result, RewardResult)
assert set(result.scores) == set(responses) and all(1 <= score <= 5 for score in result.scores.values())
assert sorted(result.ranking) == sorted(responses)
assert result.raw_output
print(f"Scores: {result.scores}")
print(f"Best to worst: {result.ranking}")
print(f"Reasoning: {result.reasoning}")

shown = reward_model.judge(
    principle=principle, prompt=prompt, responses=responses, mask_responses=False, max_new_tokens=64
)
assert set(shown.scores) == set(responses)

requests = [{"principle": principle, "prompt": f"{prompt} ({n})", "responses": responses} for n in range(9)]
results = reward_model.judge_batch(requests, batch_size=4, temperature=0.0, do_sample=False)
assert [sorted(one.ranking) for one in results] == [sorted(responses)] * 9


def reward_function(principle, prompt, response):
    result = reward_model.judge(
        principle=principle, prompt=prompt, responses={"generated": response, "reference": "Ask a cook."}
    )
    return result.scores["generated"]


rewards = [reward_function(principle, prompt, text) for text in responses.values()]
assert all(1 <= reward <= 5 for reward in rewards)

request = RewardRequest(principle=principle, prompt=prompt, responses=responses)
assert request.mask_responses and request.model_dump()["responses"] == responses
print("done")
