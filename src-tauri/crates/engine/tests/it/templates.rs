//! Templates out to exhaust the machine.

#![allow(clippy::format_push_string, reason = "a test builds its templates as they read")]

use std::thread;
use std::time::{Duration, Instant};

use allocation_counter::{AllocationInfo, measure};
use engine::{ChatTemplate, Message, RenderOptions, TemplateError};

/// Half of what the worker's threads have.
const STACK: usize = 1 << 20;
/// Whatever the template does. It gets nowhere near, or it would have gone past.
const MEMORY: u64 = 96 << 20;
/// Longer is as good as for ever.
const TIME: Duration = Duration::from_secs(20);

struct Outcome {
    result: Result<String, TemplateError>,
    used: AllocationInfo,
}

/// Renders in a thread with a small stack, whose overflow would end the test program.
fn render(source: &str) -> Outcome {
    let source = source.to_owned();
    let run = move || {
        let messages = || {
            let content = "x".repeat(1000);
            (0..20).map(|_| Message { role: "user".to_owned(), content: content.clone() }).collect::<Vec<_>>()
        };
        // What the template engine keeps for every thread is there before it is counted.
        let _ = ChatTemplate::new("{% for a in [1] %}{{ a }}{% endfor %}", None, None)
            .map(|template| template.render(&messages(), true, &RenderOptions::default()).is_ok());
        let messages = messages();
        let mut result = Err(TemplateError::LimitExceeded);
        let used = measure(|| {
            result = ChatTemplate::new(&source, Some("<s>"), Some("</s>"))
                .and_then(|template| template.render(&messages, true, &RenderOptions::default()));
        });
        Outcome { result, used }
    };
    thread::Builder::new().stack_size(STACK).spawn(run).unwrap().join().unwrap()
}

/// It ends within its memory and time, and gives back what it took.
fn check_harmless(source: &str) -> Result<String, TemplateError> {
    let started = Instant::now();
    let Outcome { result, used } = render(source);
    let shown: String = source.chars().take(200).collect();
    assert!(used.bytes_max < MEMORY, "{} MiB for {shown}", used.bytes_max >> 20);
    assert!(started.elapsed() < TIME, "{:?} for {shown}", started.elapsed());
    let kept = used.bytes_current - result.as_ref().map_or(0, |text| text.capacity() as i64);
    assert!(kept < 64 * 1024, "{kept} bytes are not given back by {shown}");
    result
}

fn check_refused(source: &str) {
    let result = check_harmless(source);
    let shown: String = source.chars().take(200).collect();
    assert!(result.is_err(), "{shown} was rendered");
}

/// Does it many times over, with what the last time left in `ns.x`.
fn again_and_again(first: &str, then: &str) -> String {
    format!(
        "{{% set ns = namespace(x={first}) %}}{{% for a in range(300) %}}{{% for b in range(300) %}}{{% set ns.x = {then} %}}{{% endfor %}}\
         {{% endfor %}}"
    )
}

#[test]
fn what_grows_without_being_copied_cannot_be_written_out() {
    // A list repeated: a hundred million places for the price of one.
    for list in
        ["[0] * 100000000", "100000000 * [0]", "([0] * 10000) * 10000", "range(100000) * 1000", "messages * 1000000"]
    {
        for written in [
            format!("{{{{ {list} }}}}"),
            format!("{{% set x = '' ~ ({list}) %}}"),
            format!("{{% set x = {list} %}}{{% set y = x ~ '' %}}"),
            format!("{{% set x = {list} %}}{{{{ x|string|length }}}}"),
            format!("{{% set x = {list} %}}{{{{ x|tojson|length }}}}"),
            format!("{{% set x = {list} %}}{{{{ x|upper|length }}}}"),
            format!("{{% set x = {list} %}}{{{{ x|list|length }}}}"),
            format!("{{% set x = {list} %}}{{{{ x|join('') }}}}"),
            format!("{{% set x = {list} %}}{{{{ ''.join(x)|length }}}}"),
            format!("{{% set x = {list} %}}{{{{ 'a' in x }}}}{{{{ x in 'a' }}}}"),
            format!("{{% set x = {list} %}}{{{{ x == x[1:] }}}}"),
            format!("{{% set x = {list} %}}{{{{ {{x: 1}} }}}}"),
            format!("{{% set x = {list} %}}{{{{ {{}}[x] }}}}"),
            format!("{{% set x = {list} %}}{{{{ x[::-1]|string }}}}"),
            format!("{{% set x = {list} %}}{{% set y = [x, x] %}}"),
            format!("{{% set x = {list} %}}{{% for a in x %}}{{% endfor %}}"),
            format!("{{% set x = {list} %}}{{{{ raise_exception(x) }}}}"),
            format!("{{% macro f(x) %}}{{{{ x }}}}{{% endmacro %}}{{{{ f({list}) }}}}"),
            format!("{{% macro f(x) %}}{{{{ x }}}}{{% endmacro %}}{{{{ f(*({list})) }}}}"),
            format!("{{% set ns = namespace(x={list}) %}}{{{{ ns }}}}"),
            format!("{{% set ns = namespace() %}}{{% set ns.x = {list} %}}{{{{ ns }}}}"),
            format!("{{% set x = {list} %}}{{{{ x is eq(x) }}}}{{{{ 1 is in(x) }}}}"),
        ] {
            check_refused(&written);
        }
    }
}

#[test]
fn what_is_shared_many_times_cannot_be_written_out() {
    for then in [
        "[ns.x, ns.x]",
        "[ns.x] * 2",
        "[ns.x] + [ns.x]",
        "(ns.x, ns.x)",
        "{'a': ns.x, 'b': ns.x}",
        "dict(a=ns.x, b=ns.x)",
        "[ns.x]|list + [ns.x]",
        "ns.x + ns.x",
        "ns.x * 2",
        "[ns.x, ns.x]|map('list')|list",
    ] {
        for end in ["{{ ns.x }}", "{{ '' ~ ns.x }}", "{{ ns.x|tojson }}", "{{ ns }}", "{{ ns.x == ns.x }}"] {
            check_refused(&(again_and_again("[1]", then) + end));
        }
    }
    // The same without a loop.
    let chain = (1..100).map(|n| format!("{{% set x{n} = [x{}, x{}] %}}", n - 1, n - 1)).collect::<Vec<_>>().concat();
    check_refused(&format!("{{% set x0 = [0] %}}{chain}{{{{ x99 }}}}"));
    // And by namespaces, which may change after they were looked at.
    let attributes = (0..1000).map(|n| format!("{{% set ns.a{n} = y %}}")).collect::<Vec<_>>().concat();
    let large = "{% set ns = namespace() %}{% set y = 'y' * 1000000 %}";
    check_refused(&format!("{large}{attributes}{{{{ ns }}}}"));
    check_refused(&format!("{large}{attributes}{{{{ '' ~ ns }}}}"));
}

#[test]
fn texts_cannot_grow_beyond_what_is_counted() {
    for source in [
        "{{ 'a' * 1000000000 }}",
        "{% set x = 'a' * 100000000 %}",
        "{{ 'aaaaaaaaaaaaaaaa'.replace('a', 'a' * 10000000) }}",
        "{{ 'aaaaaaaaaaaaaaaa'|replace('a', 'a' * 10000000) }}",
        "{{ ('a' * 100000)|replace('', 'b' * 100000) }}",
        "{{ ('a' * 100000).replace('', 'b' * 100000) }}",
        "{{ range(10000)|list|join('x' * 100000) }}",
        "{{ ('x' * 100000).join(range(10000)|list) }}",
        "{{ ('a\n' * 100000)|indent(100000) }}",
        "{{ 'a'|indent(1000000000, true) }}",
        "{{ range(10000)|list|tojson(indent=1000000) }}",
        "{{ range(10000)|list|tojson(1000000) }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ '%.1000000000f'|format(1.5) }}",
        "{{ '%*d'|format(1000000000, 1) }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ '{:.1000000000f}'.format(1.5) }}",
        "{{ [1]|batch(1000000000, 0)|list }}",
        "{{ [1]|slice(1000000000, 0)|list }}",
        "{{ [1]|slice(1000000000)|list|length }}",
        "{{ range(100000000)|list }}",
        "{{ range(0, 1000000000, 1)|list }}",
        "{% set x %}{% for a in range(10000) %}{% for b in range(10000) %}aaaaaaaaaaaaaaaaaaaaaa{% endfor %}{% endfor %}{% endset %}",
        "{% filter upper %}{% for a in range(10000) %}{% for b in range(10000) %}{{ b }}{% endfor %}{% endfor %}{% endfilter %}",
        "{% macro f(n) %}{{ 'a' * 1000 }}{{ f(n + 1) }}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{% for x in [[[[]]]] recursive %}{{ loop([x, x]) }}{% endfor %}",
        "{{ ('%(a)s' * 10000)|format(a='a' * 1000000) }}",
        "{% set x = 'a' * 1000000 %}{{ '%s%s%s%s%s%s%s%s%s%s'|format(x, x, x, x, x, x, x, x, x, x) }}",
        "{{ ('{0}' * 100000).format('a' * 100000) }}",
        "{{ range(60000)|zip(range(60000), range(60000), range(60000), range(60000), range(60000), range(60000))|list }}",
        "{{ ('a,' * 700000).split(',')|length }}",
        "{{ ('a,' * 700000)|safe|split(',')|length }}",
        "{{ ('a ' * 700000)|split|length }}",
        "{{ ('a1' * 700000)|split(1)|length }}",
        "{{ ('a1' * 700000).split(1)|length }}",
        "{{ ('a' * 1400000).split('')|length }}",
        "{{ ('a\n' * 700000).splitlines()|length }}",
        "{{ ('a\n' * 700000).splitlines(true)|length }}",
        "{{ ('a\n' * 700000)|lines|length }}",
        "{{ ('a' * 1400000)|list|length }}",
        "{{ ('a' * 1400000)|map('upper')|list|length }}",
        "{{ ('a' * 1400000).strip('b' * 1400000 ~ 'a')|length }}",
        "{{ ('a' * 1400000)|trim('b' * 1400000 ~ 'a')|length }}",
        "{{ debug() }}",
    ] {
        check_refused(source);
    }
    for source in [
        "{{ 1|round(1000000000) }}",
        "{{ [[1] * 30000, [2] * 30000]|sum(start=[])|length }}",
        "{{ ([1] * 60000)|batch(60000)|list|length }}",
        "{{ ([1] * 60000)|slice(60000)|list|length }}",
        "{{ ([1] * 60000)|groupby('a')|list|length }}",
        "{{ ([[1]] * 10000)|map('slice', 5000)|list|length }}",
        "{{ ([[1]] * 10000)|map('batch', 5000, 0)|list|length }}",
        "{{ (['a'] * 10000)|map('indent', 100000, true)|list|length }}",
        "{{ (['a'] * 10000)|map('replace', 'a', 'b' * 100000)|list|length }}",
        "{{ ([[1] * 100] * 600)|map('join', 'b' * 10000)|list|length }}",
        "{{ (['a' * 100] * 10000)|map('list')|list|length }}",
        "{{ ([[1] * 100] * 600)|map('reverse')|map('list')|list|length }}",
        "{{ (['a' * 100] * 10000)|map('split', '')|list|length }}",
        "{{ ([('a,' * 50)|safe] * 12000)|map('split', ',')|list|length }}",
        "{{ ([('a\\n' * 50)|safe] * 12000)|map('lines')|list|length }}",
        "{{ ([{'a': 1, 'b': 2, 'c': 3}] * 9000)|map('items')|map('list')|list|length }}",
        "{{ ([{'a': 1, 'b': 2, 'c': 3}] * 9000)|map('dictsort')|list|length }}",
        "{{ ([[1, 2, 3]] * 9000)|map('groupby', 'a')|map('list')|list|length }}",
        "{{ ([[1, 2, 3]] * 9000)|map('map', 'string')|list|length }}",
        "{{ (['\u{1}' * 100] * 10000)|map('tojson')|list|length }}",
        "{{ ([[1]] * 30000)|sum(start=[])|length }}",
        "{{ ('a' * 1000000)|join('', 'a' * 1000000) }}",
        "{{ ('a' * 1000000)|map(attribute='a' * 1000000)|list }}",
        "{{ ('a' * 1000000)|map(**{'attribute': 'a' * 1000000})|list }}",
        "{{ (['a' * 40] * 30000)|sum(start='')|length }}",
        "{{ ('<' * 1400000)|e|length }}",
        "{{ ['\u{1}' * 1400000]|string|length }}",
        "{{ ['\u{1}' * 1400000]|tojson|length }}",
        "{{ ('a' * 1400000)[::-1]|length }}{{ ('a' * 1400000)[::2]|length }}",
        "{% for i in range(60000) %}{% macro f() %}{{ a }}{{ b }}{{ c }}{{ d }}{{ e }}{% endmacro %}{% endfor %}",
    ] {
        check_harmless(source).ok();
    }
    for (first, then) in [
        ("'aaaaaaaa'", "ns.x ~ ns.x"),
        ("'aaaaaaaa'", "ns.x + ns.x"),
        ("'aaaaaaaa'", "ns.x * 2"),
        ("'aaaaaaaa'", "ns.x.replace('a', 'aa')"),
        ("'aaaaaaaa'", "ns.x|replace('a', 'aa')"),
        ("'<<<<<<<<'", "(ns.x|e ~ '<')|e|string"),
        ("'\\u0001'", "[ns.x]|string"),
        ("'\\u0001'", "[ns.x]|tojson"),
        ("'a'", "[ns.x, ns.x]|join('aa')"),
        ("'a'", "(ns.x ~ 'a').split('a')|join('aaa')"),
        ("'\u{149}'", "(ns.x ~ '\u{149}')|upper"),
    ] {
        check_refused(&again_and_again(first, then));
    }
}

#[test]
fn values_cannot_become_too_deep_for_a_walk() {
    for then in [
        "[ns.x]",
        "(ns.x,)",
        "{'a': ns.x}",
        "dict(a=ns.x)",
        "[ns.x]|list",
        "[ns.x]|map('list')|list",
        "[[ns.x]]|map('reverse')|list",
        "[ns.x]|batch(1)|list",
        "[ns.x]|items",
        "[ns.x][::-1]",
    ] {
        check_refused(&(again_and_again("[1]", then) + "{{ ns.x }}"));
    }
    // Sequences that are made up as they go do not pile up.
    for then in ["ns.x[0:]", "ns.x[::-1]", "ns.x|reverse", "ns.x + []", "ns.x * 1", "ns.x|list", "ns.x|map('string')"] {
        check_harmless(&(again_and_again("[1]", then) + "{{ ns.x|length }}")).ok();
    }
    check_refused("{{ ([[1]] * 50000)|sum(start=[])|length }}");
    check_refused("{{ ([[1]] * 50000)|sum|length }}");
}

#[test]
fn nothing_contains_itself() {
    for source in [
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
        "{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns }}",
        "{% set ns = namespace() %}{% set ns.x = {'a': ns} %}{{ ns.x }}",
        "{% set ns = namespace() %}{% set ns.x = dict(a=ns) %}{{ ns.x }}",
        "{% set ns = namespace() %}{% set ns.x = namespace(y=ns) %}{{ ns.x }}",
        "{% set ns = namespace() %}{% set a, ns.x = 1, ns %}{{ ns }}",
        "{% set ns = namespace() %}{% with ns.x = ns %}{{ ns }}{% endwith %}",
        "{% set ns = namespace() %}{% for ns.x in dict(a=ns)|items %}{{ ns }}{% endfor %}",
        "{% for a in [1] %}{% set l = loop %}{{ l.changed(l) }}{{ [l] }}{% endfor %}",
        "{% set ns = namespace() %}{% for a in [1] %}{% set ns.l = loop %}{% endfor %}{{ ns }}",
        "{% for a in [1] %}{{ loop.changed(dict(a=loop)) }}{% endfor %}",
        "{% macro f() %}{% endmacro %}{% set ns = namespace() %}{% set ns.f = f %}",
    ] {
        check_refused(source);
    }
    // A namespace in a namespace is as far as it goes.
    let inner: String = (0..1000).map(|_| "{% set ns = namespace(x=ns) %}").collect();
    check_refused(&format!("{{% set ns = namespace(x=1) %}}{inner}{{{{ ns }}}}"));
}

#[test]
fn templates_too_deep_for_a_parser_are_refused_before_it_sees_them() {
    for part in [
        "~1",
        "+x",
        "-x",
        "*x",
        "**x",
        "|e",
        ".a",
        "[a]",
        "()",
        " or x",
        " and x",
        " is odd",
        " if x else x",
        " == x",
        " in x",
        "[1:]",
        "(x)",
    ] {
        for count in [100, 400, 5000, 40_000] {
            let source = format!("{{{{ x{} }}}}", part.repeat(count));
            let result = check_harmless(&source);
            let is_short =
                result.is_ok() || matches!(result, Err(TemplateError::Failed { .. } | TemplateError::Syntax { .. }));
            assert!(is_short || count > 100, "{part} {count} times: {result:?}");
            assert!(count < 1000 || matches!(result, Err(TemplateError::LimitExceeded)), "{part} {count} times");
        }
    }
    for part in ["not ", "-", "(", "[", "{1:", "x(", "x[", "x if "] {
        for count in [100, 500, 20_000] {
            check_harmless(&format!("{{{{ {} x }}}}", part.repeat(count))).ok();
        }
    }
    for part in [
        "{% if x %}",
        "{% for x in y %}",
        "{% if 1 %}{% elif x %}",
        "{% elif x %}",
        "{% set x %}",
        "{% macro f() %}",
        "{% filter e %}",
        "{% with %}",
    ] {
        for count in [30, 200, 5000] {
            check_harmless(&format!("{{% if x %}}{}", part.repeat(count))).ok();
        }
    }
    let elifs = |count: usize| format!("{{% if x %}}{}{{% endif %}}ok", "{% elif x %}".repeat(count));
    assert_eq!(check_harmless(&elifs(200)).unwrap(), "ok");
    check_refused(&elifs(5000));
    // As deep as both may be at once.
    let deep = |tags: usize, signs: usize| {
        format!("{}{{{{ {}x }}}}{}", "{% if 1 %}".repeat(tags), "not ".repeat(signs), "{% endif %}".repeat(tags))
    };
    assert_eq!(check_harmless(&deep(100, 500)).unwrap(), "False");
    for tags in [120, 140, 150, 200] {
        check_harmless(&deep(tags, 500)).ok();
    }
    // Many short ones are as good as any.
    let many = "{{ x }}{% if x %}{% endif %}".repeat(2000);
    assert_eq!(check_harmless(&many).unwrap(), "");
}

#[test]
fn a_cycle_through_nothing_is_an_error_and_no_panic() {
    for cycle in ["loop.cycle()", "loop.cycle(*[])", "loop.cycle(**{})", "l.cycle()"] {
        check_refused(&format!("{{% for a in [1] %}}{{% set l = loop %}}{{{{ {cycle} }}}}{{% endfor %}}"));
    }
    let twice = "{% for a in [1, 2, 3] %}{{ loop.cycle('a', *['b']) }}{% endfor %}";
    assert_eq!(check_harmless(twice).unwrap(), "aba");
}

/// Numbers that are the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % sides
    }

    fn pick(&mut self, of: &[&'static str]) -> &'static str {
        of[self.roll(of.len())]
    }

    /// An expression with large values and whatever makes larger ones of them.
    fn expression(&mut self, depth: usize) -> String {
        let atoms = [
            "x",
            "ns.x",
            "ns.y",
            "ns",
            "messages",
            "messages[0]",
            "loop",
            "'a'",
            "','",
            "'<'",
            "''",
            "1",
            "7",
            "1000",
            "60000",
            "1000000000",
            "[]",
            "none",
            "range(60000)",
            "'ab,c\n' * 1000",
            "'a' * 1000000",
            "[1] * 60000",
            "'aaaaaaaa'|safe",
            "true",
        ];
        if depth == 0 || self.roll(5) == 0 {
            return self.pick(&atoms).to_owned();
        }
        let mut part = || self.expression(depth - 1);
        let (a, b) = (part(), part());
        let filters = [
            "abs",
            "attr",
            "bool",
            "capitalize",
            "count",
            "default",
            "dictsort",
            "e",
            "first",
            "float",
            "groupby",
            "indent",
            "int",
            "items",
            "join",
            "last",
            "length",
            "lines",
            "list",
            "lower",
            "map",
            "max",
            "min",
            "pprint",
            "reject",
            "replace",
            "reverse",
            "round",
            "safe",
            "select",
            "sort",
            "split",
            "string",
            "title",
            "tojson",
            "trim",
            "unique",
            "upper",
            "batch",
            "slice",
            "sum",
            "zip",
            "chain",
            "format",
        ];
        let methods = [
            "capitalize",
            "count",
            "endswith",
            "find",
            "format",
            "get",
            "items",
            "join",
            "keys",
            "lower",
            "lstrip",
            "replace",
            "rfind",
            "rstrip",
            "split",
            "splitlines",
            "startswith",
            "strip",
            "title",
            "upper",
            "values",
            "changed",
            "cycle",
        ];
        match self.roll(16) {
            0 => format!("({a} ~ {b})"),
            1 => format!("({a} + {b})"),
            2 => format!("({a} * {b})"),
            3 => format!("[{a}, {b}, {a}]"),
            4 => format!("{{'a': {a}, 'b': {b}}}"),
            5 => format!("({a}, {b}, {a})"),
            6 => format!("({a})[{}]", self.pick(&["0", "1:", "::-1", "::2", "-1", "'a'", ":1000"])),
            7 => format!("({a} {} {b})", self.pick(&["in", "not in", "==", "<", "and", "or", "//", "%", "-"])),
            8 => format!("({a})|{}", self.pick(&filters)),
            9 => format!("({a})|{}({b})", self.pick(&filters)),
            10 => format!("({a})|{}({b}, {a})", self.pick(&filters)),
            11 => format!("({a})|map('{}')", self.pick(&filters)),
            12 => format!("({a})|map('{}', {b})", self.pick(&filters)),
            13 => format!("({a}).{}({b})", self.pick(&methods)),
            14 => format!("({a}).{}()", self.pick(&methods)),
            _ => format!("{}({a})", self.pick(&["f", "dict", "range", "namespace", "loop", "f", "caller"])),
        }
    }
}

#[test]
fn random_templates_stay_within_their_memory() {
    let rounds =
        std::env::var("CHRYSALIS_MUTANTS").ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(2_000) / 10;
    for round in 0..rounds {
        let mut dice = Dice(round);
        let mut statements = String::new();
        // Most expressions fail, and end the template: short ones get further.
        let depth = 1 + dice.roll(3);
        for _ in 0..=dice.roll(4) {
            let (a, b) = (dice.expression(depth), dice.expression(depth));
            statements += &match dice.roll(8) {
                0 => format!("{{% set ns.x = {a} %}}"),
                1 => format!("{{% set ns.y = {a} %}}{{% set ns.x = {b} %}}"),
                2 => format!("{{{{ {a} }}}}"),
                3 => format!("{{% set x %}}{{{{ {a} }}}}{{% endset %}}"),
                4 => format!(
                    "{{% if {a} is {} %}}{{{{ {b} }}}}{{% endif %}}",
                    dice.pick(&["defined", "string", "odd", "in(x)", "eq(x)"])
                ),
                5 => format!("{{% for y in {a} %}}{{% set ns.x = {b} %}}{{% endfor %}}"),
                6 => format!(
                    "{{% filter {} %}}{{{{ {a} }}}}{{% endfilter %}}",
                    dice.pick(&["upper", "e", "tojson", "trim", "indent(1000)"])
                ),
                _ => format!("{{% set x = {a} %}}"),
            };
        }
        let source = format!(
            "{{% macro f(a) %}}{{{{ a }}}}{{% endmacro %}}{{% set x = 'aaaaaaaa' %}}{{% set ns = namespace(x=[1, 2], y='b') %}}\
             {{% for round in range(12) %}}{statements}{{% endfor %}}"
        );
        check_harmless(&source).ok();
    }
}
