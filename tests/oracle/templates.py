"""Chat templates in the styles of well-known model families, written for these tests, and messages to render."""

MESSAGES = [
    [{"role": "system", "content": "Judge."}, {"role": "user", "content": "{\"principle\": \"x\"}"}],
    [{"role": "system", "content": "\n Judge well. \n\n"}, {"role": "user", "content": "{\"a\": \"\\n\"}"}],
    [{"role": "user", "content": "Judge.\n\n{\"principle\": \"</s><s> {{ x }}\"}"}],
    [{"role": "system", "content": "  Zwei\u00a0Räume "}, {"role": "user", "content": "\t日本 <b>&amp;\"'\\ \r\n"}],
]

TEMPLATES = [
    # Roles between marks, each part on its own line.
    """{% for message in messages %}
    {% if message['role'] == 'system' %}
<|system|>
{{ message['content'] }}<|end|>
    {% elif message['role'] == 'user' %}
<|user|>
{{ message['content'] }}<|end|>
    {% endif %}
{% endfor %}
{% if add_generation_prompt %}
<|assistant|>
{% endif %}
""",
    # Header ids, trimmed contents, the beginning of sequence before the first.
    """{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role']
+ '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token +
content %}{% endif %}{{ content }}{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' if add_generation_prompt else '' }}""",
    # A date if one is available, tools, the system message taken out of the messages.
    """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
    # No system role: refuses it.
    """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for message in messages %}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}
{{ '<start_of_turn>' + message['role'] + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}""",
    # The system message before the user's text in one turn; a namespace; a macro.
    """{%- macro turn(body) -%}[INST] {{ body }} [/INST]{%- endmacro -%}
{%- set ns = namespace(system='') -%}
{{- bos_token -}}
{%- for message in messages -%}
    {%- if message.role == 'system' -%}
        {%- set ns.system = message.content + '\\n\\n' -%}
    {%- elif message.role == 'user' -%}
        {{- turn(ns.system ~ message.content) -}}
    {%- else -%}
        {{- raise_exception('Only user and system: ' + message.role) -}}
    {%- endif -%}
{%- endfor -%}""",
    # Generation blocks, loop controls, filters and methods; thinking opened by the template.
    """{%- for message in messages if message.content -%}
{%- if message.role not in ['system', 'user'] %}{% continue %}{% endif -%}
{{ ['<', '|'] | join }}{{ message['role'].upper().lower().strip() | capitalize }}|>{{ message.content.strip() }}
{% generation %}{{ eos_token }}{% endgeneration %}
{%- if loop.last %}{% break %}{% endif -%}
{%- endfor -%}
{%- generation -%} go {%- endgeneration %}
{% if add_generation_prompt %}{{ '<think>\\n' if enable_thinking is not defined else '<think>\\n\\n</think>\\n\\n' }}{% endif %}""",
    # Printed data in Python's JSON form.
    """{{ {'name': 'f', 'list': [1, 2.5, true, none, 'ü<\\'"'], 'empty': {}, 'none': []} | tojson }}
{{ {'a': [1, {'b': 2}], 'c': {}} | tojson(indent=2) }}
{%- for message in messages %}{{ message.content }}{{ '\\t' }}{% endfor %}
{{- messages | length }}{{ messages[-1].role }}{{ messages[::-1][0]['role'] }}{{ 'x' if tools else 'y' }}{{ documents is none }}""",
]
