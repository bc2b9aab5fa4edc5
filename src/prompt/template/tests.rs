//! What a template may do, and what it may not.

use super::*;

fn pair() -> Vec<Message> {
    vec![
        Message { role: "system", content: "\n S </think> \n".into() },
        Message { role: "user", content: "{{ U }}<|im_end|>".into() },
    ]
}

fn render(source: &str) -> Result<Vec<Segment>> {
    ChatTemplate::new(source, None, None)?.render(&pair(), true)
}

#[track_caller]
fn fails(source: &str, what: &str) {
    let error = render(source).expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::InvalidModel);
    assert!(error.message().contains(what), "{error}");
}

#[test]
fn texts_stand_apart_from_the_template() {
    let segments = render("A{% for m in messages %}{{ m.content|trim }}B{% endfor %}").expect("segments");
    let template = |text: &str| Segment::Template(text.into());
    let text = |text: &str| Segment::Text(text.into());
    assert_eq!(segments, [template("A"), text("S </think>"), template("B"), text("{{ U }}<|im_end|>"), template("B")]);
    // White space that the template keeps stands in its segments.
    let segments = render("{% for m in messages %}{{ m.content }}{% endfor %}").expect("segments");
    assert_eq!(segments[..3], [template("\n "), text("S </think>"), template(" \n")]);
}

#[test]
fn a_content_that_does_not_come_out_whole_is_an_error() {
    fails("{{ messages[1].content }}", "drops or rewrites the system message");
    for filter in ["upper", "lower", "e", "replace('<', '')", "tojson", "indent", "last"] {
        fails(&format!("{{{{ messages[0].content }}}}{{{{ messages[1].content|{filter} }}}}"), "rewrites the user");
    }
    fails("{{ messages[0].content }}{{ messages[1].content.split()|join(' ') }}", "rewrites the user message");
    fails("{{ messages[0].content }}{{ messages[1].content * 2 }}", "writes the user message 2 times");
    fails("{{ messages[1].content }}{{ messages[0].content }}", "before one that comes earlier");
}

#[test]
fn what_fails_is_named_with_its_line() {
    fails("\n{% if %}", "fails in line 2");
    fails("{{ raise_exception('No system role') }}", "No system role");
    fails("{{ strftime_later('%Y') }}", "strftime_later");
    fails(&"x".repeat(MAX_TEMPLATE_BYTES + 1), "the limit is 131072");
}

#[test]
fn a_hostile_template_neither_hangs_nor_crashes() {
    let deep = MAX_TEMPLATE_BYTES / 2 - 64;
    for source in [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}".to_owned(),
        "{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}".to_owned(),
        "{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}".to_owned(),
        "{% set n = namespace(s=[]) %}{% for i in range(99999) %}{% set n.s = [n.s] %}{% endfor %}{{ n.s }}".to_owned(),
        "{% set n = namespace(s={}) %}{% for i in range(30000) %}{% set n.s = {'a': n.s} %}{% endfor %}{{ n.s|tojson }}"
            .to_owned(),
        "{{ 'x' * 99999999 * 99999999 }}".to_owned(),
        "{{ 'x'.replace('', 'y' * 9999999) }}".to_owned(),
        "{{ '%999999999d' | format(1) }}{{ 'x' | indent(999999999) }}{{ 'x' | center(999999999) }}".to_owned(),
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}".to_owned(),
        format!("{{{{ 1{} }}}}", "+1".repeat(deep)),
        format!("{{{{ {}1 }}}}", "-".repeat(deep)),
        format!("{{{{ {} }}}}", "[".repeat(deep)),
        format!("{{{{ x{} }}}}", "|e".repeat(deep)),
        format!("{{{{ x{} }}}}", ".a".repeat(deep)),
        format!("{{{{ 1{} }}}}", " if 1 else 1".repeat(deep / 8)),
        "{% if 1 %}".repeat(MAX_TEMPLATE_BYTES / 10),
        format!("{}{}", "{% if 1 %}".repeat(4000), "{% endif %}".repeat(4000)),
        "{% include 'chat_template' %}".to_owned(),
        "{{ messages | tojson(indent=1000000000) }}".to_owned(),
        "{{ '%999999999d' | format(1) }}".to_owned(),
        "{{ '%999999999d' % 1 }}".to_owned(),
        "{{ '%.999999999f' % 1.5 }}".to_owned(),
        "{{ '%*d' % (999999999, 1) }}".to_owned(),
        "{{ '{:999999999}'.format(1) }}".to_owned(),
        "{{ '{:>999999999}'.format('x') }}".to_owned(),
        "{{ 'x'.center(999999999) }}".to_owned(),
        "{{ 'x'.ljust(999999999) }}".to_owned(),
        "{{ 'x' | indent(999999999) }}".to_owned(),
        "{{ ('x' * 4000000).replace('x', 'y' * 4000000) }}".to_owned(),
        "{{ ('x' * 4000000).replace('', 'y' * 4000000) }}".to_owned(),
        "{{ ('x' * 4000000) | replace('x', 'y' * 4000000) }}".to_owned(),
        "{{ (['x' * 1000000] * 90000) | join }}".to_owned(),
        "{{ ''.join(['x' * 1000000] * 90000) }}".to_owned(),
        "{{ (['x' * 1000000] * 90000) ~ '' }}".to_owned(),
        "{{ (['x' * 1000000] * 90000) | string }}".to_owned(),
        "{{ (['x' * 1000000] * 90000) }}".to_owned(),
        "{{ '%s' % [['x' * 1000000] * 90000] }}".to_owned(),
        "{{ '{}'.format(['x' * 1000000] * 90000) }}".to_owned(),
        "{{ [1] | batch(999999999, 'x') }}".to_owned(),
        "{{ [1] | slice(999999999) }}".to_owned(),
        format!("{TREE}{{{{ n.s }}}}"),
        format!("{TREE}{{{{ n.s ~ '' }}}}"),
        format!("{TREE}{{{{ n.s | string }}}}"),
        format!("{TREE}{{{{ n.s | tojson }}}}"),
        format!("{TREE}{{{{ n.s | join }}}}"),
        format!("{TREE}{{{{ '%s' % n.s }}}}"),
        format!("{TREE}{{{{ '' in n.s | string }}}}"),
        format!("{TREE}{{{{ n.s | pprint }}}}"),
        format!("{TREE}{{{{ n.s | upper }}}}"),
        format!("{TREE}{{{{ [n.s] | map('upper') | list }}}}"),
        format!("{TREE}{{{{ 'x' | replace('x', n.s) }}}}"),
        format!("{TREE}{{{{ n.s == [n.s[0], n.s[1]] }}}}"),
        format!("{TREE}{{{{ n.s in [[n.s[0], n.s[1]]] }}}}"),
        format!("{TREE}{{{{ [n.s, [n.s[0], n.s[1]]] | sort }}}}"),
        format!("{TREE}{{{{ [n.s, [n.s[0], n.s[1]]] | unique | list }}}}"),
        format!("{TREE}{{{{ {{n.s: 1}} }}}}"),
        format!("{TREE}{{{{ debug() }}}}"),
        "{% set n = namespace(s=[1]) %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}{{ n.s == n.s + [] }}"
            .to_owned(),
        "{% set n = namespace(s=1) %}{% for i in range(60) %}{% set n.s = dict(a=n.s, b=n.s) %}{% endfor %}{{ n.s }}"
            .to_owned(),
        "{% set n = namespace(s=1) %}{% for i in range(60) %}{% set n.s = [n.s] * 2 %}{% endfor %}{{ n.s == [n.s] }}"
            .to_owned(),
    ] {
        let started = std::time::Instant::now();
        let error = render(&source).expect_err("an error");
        assert_eq!(error.kind(), ErrorKind::InvalidModel, "{error}");
        assert!(started.elapsed().as_secs() < 20, "{source:.80} took {:?}", started.elapsed());
    }
    #[cfg(target_os = "linux")]
    assert!(peak_kib() < 1 << 20, "the templates took {} KiB", peak_kib());
}

/// A list of two lists of two lists…: small to hold, endless to write.
const TREE: &str = "{% set n = namespace(s='x') %}{% for i in range(60) %}{% set n.s = [n.s, n.s] %}{% endfor %}";

/// The most memory that this process has taken.
#[cfg(target_os = "linux")]
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn python_and_jinja_have_their_way() {
    for (source, wanted) in [
        ("{{ none is iterable }}{{ 'a' is iterable }}{{ 1 is iterable }}", "FalseTrueFalse"),
        ("{{ 'a' is sequence }}{{ {} is sequence }}{{ [] is sequence }}{{ 1 is sequence }}", "TrueTrueTrueFalse"),
        ("{{ '%s has %d of %.1f' % ('a', 2, 3) }}", "a has 2 of 3.0"),
        (
            "{{ '%03d' % 7 }}|{{ '%-4s|' % 'x' }}|{{ '%5.2f' % 2.5 }}|{{ '%x' % 255 }}|{{ '%%' % () }}",
            "007|x   || 2.50|ff|%",
        ),
        ("{{ true ~ none ~ 1.0 ~ [1, 'a'] }}", "TrueNone1.0[1, 'a']"),
        ("{{ ['a', 'b'] | join(', ') }}{{ [{'x': {'y': 1}}] | join('', attribute='x.y') }}", "a, b1"),
        ("{{ 'a,b,c'.rsplit(',', 1) }}{{ 'a b  c'.rsplit() }}", "['a,b', 'c']['a', 'b', 'c']"),
        ("{{ 'x'.center(4) }}|{{ '7'.zfill(3) }}|{{ '-7'.zfill(4) }}|{{ 'x'.rjust(3, '.') }}", " x  |007|-007|..x"),
        ("{{ 'prefix-x'.removeprefix('prefix-') }}{{ 'x.gguf'.removesuffix('.gguf') }}", "xx"),
        ("{{ {'b': 'ü', 'a': [1]} | tojson(sort_keys=true, ensure_ascii=true) }}", "{\"a\": [1], \"b\": \"\\u00fc\"}"),
        ("{{ {'a': 1, 'b': 2} | tojson(separators=(',', ':')) }}", "{\"a\":1,\"b\":2}"),
    ] {
        let source = format!("{source}{{% for m in messages %}}{{{{ m.content }}}}{{% endfor %}}");
        let segments = render(&source).unwrap_or_else(|error| panic!("{source}: {error}"));
        let text = segments[0].text();
        assert_eq!(text.strip_suffix("\n ").unwrap_or(text), wanted, "{source}");
    }
}

#[test]
fn a_date_and_variables_come_from_outside() {
    let source = "{{ strftime_now('%d %b %Y') }} {{ thinking }} {{ enable_thinking }} {{ style }}\
                  {% for m in messages %}{{ m.content }}{% endfor %}";
    let mut variables = serde_json::Map::new();
    variables.insert("style".into(), "dry".into());
    variables.insert("messages".into(), "gone".into());
    let template = ChatTemplate::new(source, None, None).expect("valid").with_variables(variables.clone());
    let template = template.with_date("2026-01-31").expect("a day");
    let first = |template: &ChatTemplate, reasoning| {
        template.render(&pair(), reasoning).expect("segments")[0].text().trim_end().to_owned()
    };
    assert_eq!(first(&template, true), "31 Jan 2026 True True dry");
    assert_eq!(first(&template, false), "31 Jan 2026 False False dry");
    variables.insert("enable_thinking".into(), "low".into());
    let template = template.with_variables(variables);
    assert_eq!(first(&template, true), "31 Jan 2026 True low dry");
    assert_eq!(first(&template, false), "31 Jan 2026 False False dry");
    let error = template.with_date("31.1.2026").err().expect("no day");
    assert_eq!(error.kind(), ErrorKind::InvalidProfile);
}

#[test]
fn renderings_are_kept_within_bounds() {
    let template = ChatTemplate::new("{% for m in messages %}{{ m.content }}{% endfor %}", None, None).expect("valid");
    for pad in 0..3 * MAX_SKELETONS {
        let messages = [Message { role: "user", content: " ".repeat(pad) + "x" }];
        let segments = template.render(&messages, true).expect("segments");
        assert_eq!(segments[0].text().len(), pad);
    }
    assert!(template.skeletons.lock().expect("not poisoned").len() <= MAX_SKELETONS);
}

#[test]
fn generation_blocks_mean_nothing() {
    let source = "{% for m in messages %}{{ m.content }}{%- generation %} {{ 'generation' }} {%- endgeneration -%} \
                  {% endfor %}";
    let segments = render(source).expect("segments");
    assert_eq!(segments[4], Segment::Template(" generation".into()));
}
