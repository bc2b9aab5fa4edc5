"""NeMo Gym's own client code against a server of Dicast: its agent, its strategy for `/compare`, its sums of a run.

usage: client_nemo_gym.py HOST PORT SAMPLES     prints what came back, as JSON
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any, Dict, List

import uvicorn
from fastapi import FastAPI
from nemo_gym.base_resources_server import AggregateMetricsRequest
from nemo_gym.config_types import BaseServerConfig
from nemo_gym.rollout_reverification import _check_reverify_mode
from nemo_gym.server_utils import GlobalAIOHTTPAsyncClientConfig, ServerClient, set_global_aiohttp_client
from omegaconf import OmegaConf
from resources_servers.genrm_compare.comparison_strategies import GenRMStrategy, GenRMStrategyConfig
from responses_api_agents.simple_agent.app import SimpleAgent, SimpleAgentConfig, SimpleAgentRunRequest

PRINCIPLE = "I prefer clear, concise and helpful responses over long and detailed ones."
#: The prompt with this number does not fit the judge.
TOO_LONG = 99


def message(text: str) -> Dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]}


def response(text: str) -> Dict[str, Any]:
    thought = {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "I think."}]}
    return {
        "id": "resp", "object": "response", "created_at": 1.0, "model": "policy", "output": [thought, message(text)],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }  # fmt: skip


def text_of(place: int) -> str:
    return f"Build small project {place}. " * (1 + place)


def policy() -> FastAPI:
    """A policy model: each call gets the next text."""
    app, said = FastAPI(), iter(range(10_000))

    @app.post("/v1/responses")
    def responses() -> Dict[str, Any]:
        return response(text_of(next(said) % 8))

    return app


def started(app: FastAPI) -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    return port


def user(text: str) -> Dict[str, Any]:
    return {"role": "user", "content": text}


def asked(number: int) -> str:
    return f"{'word ' * 3000 if number == TOO_LONG else ''}How do I learn language {number}?"


def run_request(number: int, repeat: int = 0) -> SimpleAgentRunRequest:
    return SimpleAgentRunRequest.model_validate(
        {
            "responses_create_params": {"input": [{"role": "developer", "content": "Be brief."},
                                                  {"role": "user", "content": asked(number)}]},
            "principle": PRINCIPLE, "_ng_task_index": number, "_ng_rollout_index": repeat,
        }
    )  # fmt: skip


async def main(host: str, port: int, samples: int) -> Dict[str, Any]:
    model, free = started(policy()), socket.socket()
    free.bind(("127.0.0.1", 0))
    agent_port = free.getsockname()[1]
    free.close()

    def client(**more: Any) -> ServerClient:
        servers = {
            "judge": {"resources_servers": {"dicast": {"host": host, "port": port}}},
            "policy_model": {"responses_api_models": {"policy": {"host": "127.0.0.1", "port": model}}},
            "agent": {"responses_api_agents": {"simple_agent": {"host": "127.0.0.1", "port": agent_port}}},
        }
        head = BaseServerConfig(host="127.0.0.1", port=1)
        return ServerClient(head_server_config=head, global_config_dict=OmegaConf.create({**servers, **more}))

    set_global_aiohttp_client(GlobalAIOHTTPAsyncClientConfig())
    own = client()
    config = SimpleAgentConfig(
        host="127.0.0.1", port=agent_port, name="agent", entrypoint="app.py",
        resources_server={"type": "resources_servers", "name": "judge"},
        model_server={"type": "responses_api_models", "name": "policy_model"},
    )  # fmt: skip
    agent = SimpleAgent(config=config, server_client=own)
    app = agent.setup_webserver()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=agent_port, log_level="error"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.05)

    async def rollout(number: int, repeat: int = 0) -> Any:
        return await agent.run(SimpleNamespace(cookies={}), run_request(number, repeat))

    found: Dict[str, Any] = {}
    done = await asyncio.gather(*(rollout(1, repeat) for repeat in range(samples)))
    found["verify"] = [[one.response.output[-1].content[0].text, one.reward] for one in done]
    rows: List[Dict[str, Any]] = [
        {"_ng_task_index": 1, "_ng_rollout_index": repeat, "reward": one.reward} for repeat, one in enumerate(done)
    ]
    sums = await agent.aggregate_metrics(AggregateMetricsRequest(verify_responses=rows))
    found["sums"] = sums.model_dump()
    found["unsafe_to_verify_again"] = await _check_reverify_mode(own, {"agent": "judge"})

    strategy = GenRMStrategy(GenRMStrategyConfig(genrm_compare_server_name="judge"))
    texts = [text_of(place) for place in range(samples)]
    history = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    whole = [*history, user(asked(2))]
    rewards, metrics = await strategy.compare(whole, [response(text) for text in texts], own, PRINCIPLE)
    found["compare"], found["metrics"] = rewards, metrics

    # What fails is an error, not a reward.
    found["failed"] = {}
    for name, failing in [
        ("verify", rollout(TOO_LONG)),
        ("compare", strategy.compare([*history, user(asked(TOO_LONG))], [response("a")] * 2, own, PRINCIPLE)),
    ]:
        try:
            found["failed"][name] = repr(await failing)
        except Exception as error:
            found["failed"][name] = getattr(error, "status", repr(error))

    # With observation, paths begin with the rollout.
    watched = client(observability_enabled=True)
    body = {**run_request(3).model_dump(), "_ng_rollout_id": "3-0", "response": response(text_of(0))}
    got = await watched.post(server_name="judge", url_path="/verify", json=body)
    found["observed"] = [str(got.url.path), got.status]
    server.should_exit = True
    await serving
    return found


if __name__ == "__main__":
    print("\n" + json.dumps(asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
