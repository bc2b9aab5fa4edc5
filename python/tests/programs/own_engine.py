"""A program for the reference package: only its messages and its parser."""

from rewardanything.models import RewardResult
from rewardanything.processing import SYSTEM_PROMPT, parse_rewardanything_output, prepare_chat_messages

messages, masked2real = prepare_chat_messages(
    "Judge helpfulness and accuracy", "What is the capital of France?", {"model_a": "Paris.", "model_b": "Lyon?"}
)
assert [message["role"] for message in messages] == ["system", "user"]
assert messages[0]["content"] == SYSTEM_PROMPT

output_text = """<think>
model-1 is right? No: one of them is.
</think>
```json
{"scores": {"model-1": 2, "model-2": 5}, "best-to-worst": ["model-2", "model-1"]}
```"""
result = parse_rewardanything_output(output_text, masked2real)
assert isinstance(result, RewardResult)
assert result.scores == {masked2real["model-1"]: 2, masked2real["model-2"]: 5}
assert result.ranking == [masked2real["model-2"], masked2real["model-1"]]
assert result.reasoning == "model-1 is right? No: one of them is."
assert result.raw_output == output_text

messages, masked2real = prepare_chat_messages("Be kind", "Hi", {"a": "Hello", "b": "Go"}, mask_responses=False)
assert masked2real is None
result = parse_rewardanything_output('{"scores": {"a": 5, "b": 1}, "best-to-worst": ["a", "b"]}', None)
assert result.scores == {"a": 5, "b": 1}
print("done")
