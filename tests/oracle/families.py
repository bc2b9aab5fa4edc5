"""Chat templates with the features of public models' templates, each its own part of the language; written for these tests."""

CONTENTS = "{% for m in messages %}{{ m.content }}{{ '\\n' }}{% endfor %}"

# Beginnings before the contents, each a separate template.
HEADS = [
    # Dates, fixed for the test.
    "{{ strftime_now('%d %B %Y') }} {{ strftime_now('%Y-%m-%d') if strftime_now is defined else 'never' }}\n",
    "{%- set today = strftime_now('%b %d, %Y') %}Today is {{ today }}.\n",
    # Tests for sequences, mappings, iterables, numbers.
    "{% for x in [none, 'a', 1, 1.5, true, [], {}, (1, 2)] %}{{ x is iterable }}{{ x is sequence }}{{ x is mapping }}"
    "{{ x is string }}{{ x is number }}{{ x is boolean }}{{ x is none }}|{% endfor %}",
    "{{ nothing is defined }}{{ nothing is undefined }}{{ nothing is none }}{{ messages is sequence }}{{ nothing | default('d') }}",
    # Python's formats.
    "{{ '%s has %d' % ('a', 2) }}{{ '%05.1f|%-4s|%+d|%x' % (2.5, 'x', 3, 255) }}{{ '%s' % messages[0].role }}",
    "{{ '%s of %s' | format(1, 'two') }}{{ '{} and {}'.format('a', 1) }}{{ '{0}{1}{0}'.format('x', 'y') }}",
    # Thinking, in the ways in which templates ask for it.
    "{% if enable_thinking is defined and enable_thinking is false %}fast{% else %}slow{% endif %}",
    "{% if not (enable_thinking is defined and enable_thinking) %}fast{% endif %}{{ thinking | default(false) }}",
    "{%- set mode = 'think' if (thinking is defined and thinking) or enable_thinking else 'no_think' -%}/{{ mode }}\n",
    # Namespaces, loops and their variables.
    "{% set ns = namespace(found=false, index=-1) %}{% for m in messages %}{% if m.role == 'user' and not ns.found %}"
    "{% set ns.found = true %}{% set ns.index = loop.index0 %}{% endif %}{% endfor %}{{ ns.found }}{{ ns.index }}",
    "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ loop.first }}{{ loop.last }}{{ loop.revindex }}"
    "{{ loop.previtem.role if loop.previtem is defined }}{{ loop.nextitem.role if not loop.last }};{% endfor %}",
    "{% for a, b in {'x': 1, 'y': [2]}.items() %}{{ a }}={{ b }}{{ loop.cycle('.', ';') }}{% else %}none{% endfor %}",
    # Macros with defaults, calls, blocks that are set.
    "{% macro tag(name, close=false) %}<{{ '/' if close }}{{ name }}>{% endmacro %}{{ tag('a') }}{{ tag('a', close=true) }}"
    "{{ tag(name='b') }}",
    "{% macro walk(x, depth=0) %}{% for y in x %}{% if y is iterable and y is not string %}{{ walk(y, depth + 1) }}"
    "{% else %}{{ depth }}{{ y }}{% endif %}{% endfor %}{% endmacro %}{{ walk([1, [2, ['z']], 3]) }}",
    "{% set block %}a{{ 1 + 1 }}b{% endset %}[{{ block | upper }}]{% filter trim %}  x {% endfilter %}",
    "{% macro box(t) %}[{{ t }}:{{ caller() }}]{% endmacro %}{% call box('t') %}inside{% endcall %}",
    # Strings and their methods.
    "{{ ' a b '.strip() }}{{ 'a,b'.split(',')[-1] }}{{ 'x' in 'xyz' }}{{ 'abc'[1:] }}{{ 'abc'[::-1] }}{{ 'ab' * 2 }}"
    "{{ 'a\\nb'.splitlines() | length }}{{ 'Abc'.startswith(('x', 'A')) }}{{ 'abc'.endswith('c') }}{{ 'abc'.find('c') }}",
    "{{ '<think>r</think>\\n\\nanswer'.split('</think>')[-1].lstrip('\\n') }}{{ 'a-b-c'.rsplit('-', 1)[0] }}"
    "{{ 'a b'.title() }}{{ 'AB'.lower().capitalize() }}{{ 'a.b'.replace('.', '') }}{{ 'aXbX'.replace('X', 'y', 1) }}",
    "{{ 'a' ~ 1 ~ none ~ true ~ 1.0 ~ ['b'] }}{{ \"it's\" }}{{ ['a', \"it's\", 1.5, none, true] }}{{ {'k': 'v'} }}",
    # Filters.
    "{{ [3, 1, 2] | sort | join(', ') }}{{ messages | map(attribute='role') | list }}{{ ['a', 'b', 'a'] | unique | list }}"
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ [1, 2, 3] | select('odd') | list }}",
    "{{ messages | rejectattr('role', 'eq', 'system') | map(attribute='role') | first }}{{ [1, 2] | last }}{{ [1, 2] | sum }}"
    "{{ 'a\\nb' | indent(2) }}{{ 'a\\nb' | indent(2, true) }}{{ ' x ' | trim }}{{ 'abc' | length }}{{ 2.5 | round | int }}",
    "{{ {'b': 1, 'a': 2} | dictsort }}{{ {'b': 1} | items | list }}{{ [[1, 2], [3]] | tojson }}{{ 'é\"<' | tojson }}"
    "{{ {'b': [1, {'c': none}], 'a': 1.0} | tojson(indent=4) }}{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}"
    "{{ [1, 'ü'] | tojson(ensure_ascii=true) }}{{ {'a': 1, 'b': 2} | tojson(separators=(',', ':')) }}",
    # Conditions, comparisons, arithmetic.
    "{{ 7 // 2 }}{{ 7 % 3 }}{{ 2 ** 3 }}{{ 7 / 2 }}{{ -7 // 2 }}{{ 1 == 1.0 }}{{ 'a' < 'b' }}{{ 1 if 0 else 2 }}{{ not 1 }}"
    "{{ 1 and 'x' }}{{ '' or 'y' }}{{ none or 0 }}{{ 3 in [1, 3] }}{{ 'a' not in {'a': 1} }}",
    "{%- if messages[0].role != 'system' and messages | length > 1 -%} no system {%- elif messages[0]['role'] == 'system' -%}"
    " system {%- else -%} one {%- endif -%}{{ messages[0].name is defined }}{{ messages[0].get('tool_calls', []) | length }}",
    # White space control.
    "  {%- if true %}\n  a\n  {%- endif %}\n{#- gone -#}  b {{- ' c' -}}  \n  {% if true -%}\n d {%- endif +%}\n",
    "{% raw %}{{ not.rendered }}{% endraw %}{{ '{{' }}{{ '{%' }}\n",
    # Loop controls and ranges.
    "{% for i in range(6) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}"
    "{{ range(2, 8, 2) | list }}{{ range(3) | join('-') }}",
    # Tools that are missing, and a refusal that is not reached.
    "{% if tools %}{{ tools | tojson }}{% endif %}{% if tools is not none and tools | length > 0 %}x{% endif %}"
    "{% if messages[0].role not in ['system', 'user'] %}{{ raise_exception('role') }}{% endif %}",
]

FAMILIES = [head + CONTENTS for head in HEADS]
