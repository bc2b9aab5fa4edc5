"""deploy/dicast.service, installed in a root of Debian and run there by a real systemd."""

from __future__ import annotations

import json
import re
import subprocess

from common import CONCISE, DEPLOY, folder, request, run, tool
from debian import install, put, unpacked

#: The most exposure that `systemd-analyze security` may find.
EXPOSURE = 1.6

PACKAGES = ("systemd", "systemd-sysv", "dbus", "ca-certificates", "curl", "libgomp1", "libstdc++6", "man-db", "procps")

#: Starts with the machine, tries the service, and ends the machine.
UNIT = """[Unit]
Wants=dicast.service
After=dicast.service
[Service]
Type=oneshot
ExecStart=/bin/bash /srv/trial.sh
ExecStopPost=/bin/systemctl --no-block poweroff
[Install]
WantedBy=multi-user.target
"""

#: Each line of its output is a fact, `name value`.
TRIAL = """set -u
exec >/srv/facts 2>&1
url=http://127.0.0.1:8001
key='authorization: Bearer sesame-open'
status() { curl -s -m 60 -o /srv/answer -w '%{http_code}' "$@"; }
judge() { status -H "$key" -H 'content-type: application/json' -d @/srv/request.json $url/v1/judge; }
is_ready() { [ "$(status $url/ready)" = 200 ]; }
for _ in $(seq 120); do is_ready && break; sleep 0.5; done
pid() { systemctl show -p MainPID --value dicast; }
echo active $(systemctl is-active dicast)
echo judged $(judge)
echo without_key $(status -d @/srv/request.json $url/v1/judge)
echo user $(ps -o user:32= -p $(pid))
keys=/run/credentials/dicast.service/keys
echo key_readable $(su -s /bin/sh nobody -c "cat $keys" 2>/dev/null | grep -c sesame)
status -H "$key" -H 'content-type: application/x-ndjson' --data-binary @/srv/jobs.jsonl $url/v1/jobs >/dev/null
job=$(sed 's/.*"id":"\\([^"]*\\)".*/\\1/' /srv/answer)
echo state $(ls /var/lib/dicast/ | tr '\\n' ' ')
echo outside $(stat -c %a /var/lib/private/dicast)
# What a crash does: the service starts again, and goes on with the job.
before=$(pid)
kill -9 $before
for _ in $(seq 60); do [ "$(pid)" != "$before" ] && is_ready && break; sleep 0.5; done
echo restarted $([ "$(pid)" != "$before" ] && echo yes)
echo job $(curl -s -m 90 -H "$key" "$url/v1/jobs/$job?wait_s=60" | sed 's/.*"state":"\\([^"]*\\)".*/\\1/')
echo results $(curl -s -H "$key" "$url/v1/jobs/$job/results" | grep -c '"index"')
# What a stop does to a request that runs.
curl -s -m 60 -o /srv/late -H "$key" -H 'content-type: application/x-ndjson' --data-binary @/srv/batch.jsonl \
    $url/v1/judge/batch & late=$!
sleep 0.5
began=$(date +%s%N)
systemctl stop dicast
echo stop_ms $(( ($(date +%s%N) - began) / 1000000 ))
wait $late
echo late $(grep -c '"status":200' /srv/late)
echo result $(systemctl show -p Result --value dicast)
echo refused_calls $(journalctl -u dicast -o cat | grep -c -i 'operation not permitted')
journalctl -u dicast -o cat | tail -n 40 >/srv/journal
man -w dicast >/dev/null && echo man yes
"""


def check() -> str:
    nspawn = tool("systemd-nspawn", "systemd-container")
    with folder() as place:
        root = unpacked("systemd", place, *PACKAGES)
        install(root)
        unit = "etc/systemd/system/dicast.service"
        put(root, unit, DEPLOY / "dicast.service", 0o644)
        (root / "etc/dicast").mkdir()
        config = {"model": "/usr/local/share/dicast/demo.gguf", "options": {"max_reasoning_tokens": 64}}
        (root / "etc/dicast/config.json").write_text(json.dumps(config))
        keys = root / "etc/dicast/keys"
        keys.write_text("team:sesame-open\n")
        keys.chmod(0o600)

        # The unit is right, and takes most rights away.
        said = run("chroot", root, "systemd-analyze", "verify", f"/{unit}").stdout
        assert not said.strip(), f"systemd-analyze verify: {said}"
        said = run("chroot", root, "systemd-analyze", "security", "--offline=yes", f"/{unit}").stdout
        found = re.search(r"exposure level for dicast.service: ([\d.]+)", said)
        exposure = float(found.group(1)) if found else 10.0
        assert exposure <= EXPOSURE, said

        # It runs.
        (root / "srv/trial.sh").write_text(TRIAL)
        (root / "srv/request.json").write_text(json.dumps(request(responses=4)))
        lines = [json.dumps(request(number, principle=CONCISE)) for number in range(12)]
        (root / "srv/jobs.jsonl").write_text("\n".join(lines) + "\n")
        (root / "srv/batch.jsonl").write_text(
            "\n".join(json.dumps(request(number, 4)) for number in range(100)) + "\n"
        )
        (root / "etc/systemd/system/trial.service").write_text(UNIT)
        run("chroot", root, "systemctl", "enable", "--quiet", "dicast", "trial")
        command = [nspawn, "--quiet", "--register=no", "--keep-unit", "-D", str(root), "-b"]
        with (place / "console").open("wb") as console:
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, timeout=300, check=False)
        text = root / "srv/facts"
        console_text = (place / "console").read_text(errors="replace")
        assert text.exists(), f"systemd did not reach the trial:\n{console_text[-3000:]}"
        facts = dict(line.partition(" ")[::2] for line in text.read_text().splitlines())
        journal = (root / "srv/journal").read_text() if (root / "srv/journal").exists() else ""
        expected = {
            "active": "active", "judged": "200", "without_key": "401", "key_readable": "0",
            "outside": "700", "restarted": "yes", "job": "finished", "results": "12", "late": "100",
            "result": "success", "refused_calls": "0", "man": "yes",
        }  # fmt: skip
        wrong = {name: facts.get(name) for name, value in expected.items() if facts.get(name) != value}
        assert not wrong, f"{wrong}; all: {facts}\n{journal}"
        assert "jobs-8001.db" in facts["state"] and facts["user"] not in ("0", "root", ""), facts
        assert int(facts["stop_ms"]) < 20_000, facts
        version = run("chroot", root, "systemctl", "--version").stdout.split()[1]
        return (
            f"systemd {version}: verify is silent, exposure {exposure}, killed and started again, "
            f"12 results of a job, stopped in {facts['stop_ms']} ms with a request running"
        )
