//! What keeps a template's values small: every operand is looked at before it is used.
//!
//! The template engine counts steps and the bytes of texts, but lists can be repeated and shared without being copied, and count for
//! nothing until they are written out: sixty times `[x, x]` is a kilobyte, and its text would be an exabyte. So [`guarded`] rewrites
//! the parsed template: each operand of an operator, filter, test, call, literal or output goes through a filter first
//! ([`operand`], [`plain_operand`]), which walks the value and refuses one that would be too large as text, or too deep for a
//! walk. What is not used so can only be passed on, looked into and gone through, one counted step at a time.
//!
//! Two more things follow from the walk. A sequence that is made up as it goes (a slice, a repetition) becomes a list, so that
//! such sequences never pile up on each other. And nothing but plain values gets into a list, a dictionary or a namespace, so that no
//! value contains itself.

use std::collections::BTreeMap;

use minijinja::machinery::Token;
use minijinja::machinery::ast::{
    AutoEscape, BinOp, BinOpKind, Break, Call, CallArg, CallBlock, Compare, CompareOp, Const, Continue, Do, EmitExpr,
    EmitRaw, Expr, Filter, FilterBlock, ForLoop, GetAttr, GetItem, IfCond, IfExpr, List, Macro, Map, Set, SetBlock,
    Slice, Spanned, Stmt, Template, Test, Tuple, UnaryOp, UnaryOpKind, Var, WithBlock,
};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{self, ObjectRepr, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, machinery};

/// Most values in one value.
const MAX_NODES: usize = 1 << 16;
/// Most bytes of text in one value.
const MAX_BYTES: usize = 3 << 19;
/// How deep lists and dictionaries nest.
const MAX_DEPTH: usize = 32;
/// Most bytes of text in an argument of a filter, which may go through all of it for each item it works on.
const MAX_ARGUMENT: usize = 4 << 10;
/// Those that take a text as it is.
const TEXT_FILTERS: [&str; 3] = ["default", "d", "replace"];
/// So many values are looked at for one unit of fuel.
const NODES_PER_FUEL: usize = 32;
/// Most words and signs between one pair of brackets of a template. Parser and compiler go as deep as an expression has operators.
const MAX_EXPRESSION: usize = 512;
/// Most `elif` in a template, which nest.
const MAX_ELIFS: usize = 256;

/// Looks at an operand.
const OPERAND: &str = "operand_within_limits";
/// Looks at an argument of a filter.
const ARGUMENT: &str = "argument_within_limits";
/// Looks at an operand that is kept inside of another value.
const PLAIN: &str = "plain_operand_within_limits";

/// Whether the template's expressions are short enough for the parser. What is no template at all passes.
pub(super) fn is_shallow(source: &str, syntax: SyntaxConfig) -> bool {
    let mut length = 0;
    let mut elifs = 0;
    for token in machinery::tokenize(source, false, syntax) {
        match token {
            Ok((Token::VariableStart | Token::BlockStart | Token::TemplateData(_), _)) => length = 0,
            Ok((token, _)) => {
                length += 1;
                elifs += usize::from(matches!(token, Token::Ident("elif")));
            }
            Err(_) => return true,
        }
        if length > MAX_EXPRESSION || elifs > MAX_ELIFS {
            return false;
        }
    }
    true
}

/// Makes the filters known that a guarded template uses.
pub(super) fn install(environment: &mut Environment<'_>) {
    environment.add_filter(OPERAND, |state: &State, value: Value| look_at(state, value, MAX_BYTES, Walk::any));
    environment.add_filter(ARGUMENT, |state: &State, value: Value| look_at(state, value, MAX_ARGUMENT, Walk::any));
    environment.add_filter(PLAIN, |state: &State, value: Value| {
        look_at(state, value, MAX_BYTES, |walk, value| walk.plain(value, 0))
    });
}

fn look_at(
    state: &State,
    value: Value,
    most: usize,
    look: fn(&mut Walk, &Value) -> Result<Option<Value>, Error>,
) -> Result<Value, Error> {
    let mut walk = Walk { nodes: 0, bytes: 0, most };
    let settled = look(&mut walk, &value);
    state.consume_fuel((walk.nodes / NODES_PER_FUEL) as u64)?;
    Ok(settled?.unwrap_or(value))
}

/// How much of a value was seen.
struct Walk {
    nodes: usize,
    bytes: usize,
    /// Most bytes.
    most: usize,
}

impl Walk {
    fn too_large() -> Error {
        Error::new(ErrorKind::OutOfFuel, "a value is too large")
    }

    /// Looks at a value that may also be a namespace, a loop or a macro. `Some`: to be used in its place.
    fn any(&mut self, value: &Value) -> Result<Option<Value>, Error> {
        match value.as_object() {
            Some(object) if object.repr() == ObjectRepr::Plain => Ok(None),
            Some(object) if object.repr() == ObjectRepr::Map && !object.is::<BTreeMap<Value, Value>>() => {
                for (key, value) in object.try_iter_pairs().into_iter().flatten() {
                    self.unchanged(&key, 1)?;
                    self.plain(&value, 1)?;
                }
                Ok(None)
            }
            _ => self.plain(value, 0),
        }
    }

    /// Looks at a text, a number, or a list or dictionary of such. `Some`: to be used in its place.
    fn plain(&mut self, value: &Value, depth: usize) -> Result<Option<Value>, Error> {
        self.nodes += 1;
        self.bytes += value.as_str().map_or(0, str::len);
        if self.nodes > MAX_NODES || self.bytes > self.most || depth > MAX_DEPTH {
            return Err(Self::too_large());
        }
        let Some(object) = value.as_object() else {
            return match value.kind() {
                // Running out of fuel in the middle of a sequence looks like this.
                ValueKind::Invalid => Err(Self::too_large()),
                _ => Ok(None),
            };
        };
        if let Some(list) = object.downcast_ref::<Vec<Value>>() {
            return Ok(self.items(list, depth)?.map(Value::from));
        }
        if let Some(tuple) = object.downcast_ref::<value::Tuple>() {
            return Ok(self.items(tuple, depth)?.map(|items| Value::from(value::Tuple::from(items))));
        }
        if let Some(map) = object.downcast_ref::<BTreeMap<Value, Value>>() {
            let mut rebuilt: Option<BTreeMap<Value, Value>> = None;
            for (key, value) in map {
                self.unchanged(key, depth + 1)?;
                if let Some(settled) = self.plain(value, depth + 1)? {
                    rebuilt.get_or_insert_with(|| map.clone()).insert(key.clone(), settled);
                }
            }
            return Ok(rebuilt.map(Value::from_object));
        }
        match object.repr() {
            ObjectRepr::Seq | ObjectRepr::Iterable => {
                let mut items = Vec::new();
                for item in object.try_iter().into_iter().flatten() {
                    let settled = self.plain(&item, depth + 1)?;
                    items.push(settled.unwrap_or(item));
                }
                Ok(Some(Value::from(items)))
            }
            _ => Err(Error::new(ErrorKind::InvalidOperation, "only plain values can be kept in another")),
        }
    }

    fn items(&mut self, items: &[Value], depth: usize) -> Result<Option<Vec<Value>>, Error> {
        let mut rebuilt: Option<Vec<Value>> = None;
        for (index, item) in items.iter().enumerate() {
            let settled = self.plain(item, depth + 1)?;
            match (&mut rebuilt, settled) {
                (None, None) => {}
                (None, Some(settled)) => {
                    let mut before = items.get(..index).unwrap_or_default().to_vec();
                    before.push(settled);
                    rebuilt = Some(before);
                }
                (Some(rebuilt), settled) => rebuilt.push(settled.unwrap_or_else(|| item.clone())),
            }
        }
        Ok(rebuilt)
    }

    fn unchanged(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        match self.plain(value, depth)? {
            None => Ok(()),
            Some(_) => Err(Error::new(ErrorKind::InvalidOperation, "this can be no key")),
        }
    }
}

/// The same template, which looks at its operands.
pub(super) fn guarded<'a>(statement: &Stmt<'a>) -> Stmt<'a> {
    match statement {
        Stmt::Template(node) => Stmt::Template(same_place(node, Template { children: statements(&node.children) })),
        Stmt::EmitExpr(node) => Stmt::EmitExpr(same_place(node, EmitExpr { expr: operand(&node.expr) })),
        Stmt::EmitRaw(node) => Stmt::EmitRaw(same_place(node, EmitRaw { raw: node.raw })),
        Stmt::ForLoop(node) => {
            let guarded = ForLoop {
                target: target(&node.target),
                iter: assigned(&node.target, &node.iter),
                filter_expr: node.filter_expr.as_ref().map(expression),
                recursive: node.recursive,
                body: statements(&node.body),
                else_body: statements(&node.else_body),
            };
            Stmt::ForLoop(same_place(node, guarded))
        }
        Stmt::IfCond(node) => {
            let guarded = IfCond {
                expr: expression(&node.expr),
                true_body: statements(&node.true_body),
                false_body: statements(&node.false_body),
            };
            Stmt::IfCond(same_place(node, guarded))
        }
        Stmt::WithBlock(node) => {
            let assignments = node.assignments.iter().map(|(name, value)| (target(name), assigned(name, value)));
            Stmt::WithBlock(same_place(
                node,
                WithBlock { assignments: assignments.collect(), body: statements(&node.body) },
            ))
        }
        Stmt::Set(node) => {
            let guarded = Set { target: target(&node.target), expr: assigned(&node.target, &node.expr) };
            Stmt::Set(same_place(node, guarded))
        }
        Stmt::SetBlock(node) => {
            let guarded = SetBlock {
                target: target(&node.target),
                filter: node.filter.as_ref().map(expression),
                body: statements(&node.body),
            };
            Stmt::SetBlock(same_place(node, guarded))
        }
        Stmt::AutoEscape(node) => {
            let guarded = AutoEscape { enabled: expression(&node.enabled), body: statements(&node.body) };
            Stmt::AutoEscape(same_place(node, guarded))
        }
        Stmt::FilterBlock(node) => {
            let guarded = FilterBlock {
                filter: operand(&node.filter),
                filter_span: node.filter_span,
                body: statements(&node.body),
            };
            Stmt::FilterBlock(same_place(node, guarded))
        }
        Stmt::Macro(node) => Stmt::Macro(same_place(node, definition(node))),
        Stmt::CallBlock(node) => {
            let guarded = CallBlock {
                call: same_place(&node.call, call(&node.call)),
                call_expr_span: node.call_expr_span,
                macro_decl: same_place(&node.macro_decl, definition(&node.macro_decl)),
            };
            Stmt::CallBlock(same_place(node, guarded))
        }
        Stmt::Continue(node) => Stmt::Continue(same_place(node, Continue)),
        Stmt::Break(node) => Stmt::Break(same_place(node, Break)),
        Stmt::Do(node) => Stmt::Do(same_place(node, Do { call: same_place(&node.call, call(&node.call)) })),
    }
}

fn statements<'a>(statements: &[Stmt<'a>]) -> Vec<Stmt<'a>> {
    statements.iter().map(guarded).collect()
}

fn definition<'a>(node: &Macro<'a>) -> Macro<'a> {
    Macro {
        name: node.name,
        args: node.args.iter().map(target).collect(),
        defaults: node.defaults.iter().map(expression).collect(),
        body: statements(&node.body),
    }
}

/// What is assigned to: names, several of them, or something of a namespace.
fn target<'a>(expr: &Expr<'a>) -> Expr<'a> {
    match expr {
        Expr::List(node) => Expr::List(same_place(node, List { items: node.items.iter().map(target).collect() })),
        Expr::Tuple(node) => Expr::Tuple(same_place(node, Tuple { items: node.items.iter().map(target).collect() })),
        _ => expression(expr),
    }
}

/// What is assigned. A namespace gets plain values only.
fn assigned<'a>(target: &Expr<'a>, value: &Expr<'a>) -> Expr<'a> {
    if is_of_a_namespace(target) { plain_operand(value) } else { expression(value) }
}

fn is_of_a_namespace(target: &Expr<'_>) -> bool {
    match target {
        Expr::Var(_) => false,
        Expr::List(node) => node.items.iter().any(is_of_a_namespace),
        Expr::Tuple(node) => node.items.iter().any(is_of_a_namespace),
        _ => true,
    }
}

/// An expression whose value is written out, computed with or handed to a function.
fn operand<'a>(expr: &Expr<'a>) -> Expr<'a> {
    looked_at(OPERAND, expression(expr))
}

/// An expression whose value tells a filter what to do.
fn argument<'a>(expr: &Expr<'a>) -> Expr<'a> {
    looked_at(ARGUMENT, expression(expr))
}

/// An expression whose value becomes part of another.
fn plain_operand<'a>(expr: &Expr<'a>) -> Expr<'a> {
    looked_at(PLAIN, expression(expr))
}

fn looked_at<'a>(filter: &'static str, expr: Expr<'a>) -> Expr<'a> {
    // It stands in the template as it is.
    if matches!(expr, Expr::Const(_)) {
        return expr;
    }
    let span = expr.span();
    Expr::Filter(Spanned::new(Filter { name: filter, expr: Some(expr), args: Vec::new() }, span))
}

fn expression<'a>(expr: &Expr<'a>) -> Expr<'a> {
    match expr {
        Expr::Var(node) => Expr::Var(same_place(node, Var { id: node.id })),
        Expr::Const(node) => Expr::Const(same_place(node, Const { value: node.value.clone() })),
        Expr::Slice(node) => {
            let part = |expr: &Option<Expr<'a>>| expr.as_ref().map(operand);
            let guarded = Slice {
                expr: operand(&node.expr),
                start: part(&node.start),
                stop: part(&node.stop),
                step: part(&node.step),
            };
            Expr::Slice(same_place(node, guarded))
        }
        Expr::UnaryOp(node) => {
            let op = if matches!(node.op, UnaryOpKind::Not) { UnaryOpKind::Not } else { UnaryOpKind::Neg };
            Expr::UnaryOp(same_place(node, UnaryOp { op, expr: operand(&node.expr) }))
        }
        Expr::BinOp(node) => {
            // These two only choose.
            let side = if matches!(node.op, BinOpKind::ScAnd | BinOpKind::ScOr) { expression } else { operand };
            Expr::BinOp(same_place(node, BinOp { op: node.op, left: side(&node.left), right: side(&node.right) }))
        }
        Expr::Compare(node) => {
            let ops = node.ops.iter().map(|next| CompareOp { op: next.op, expr: operand(&next.expr) });
            Expr::Compare(same_place(node, Compare { expr: operand(&node.expr), ops: ops.collect() }))
        }
        Expr::IfExpr(node) => {
            let guarded = IfExpr {
                test_expr: expression(&node.test_expr),
                true_expr: expression(&node.true_expr),
                false_expr: node.false_expr.as_ref().map(expression),
            };
            Expr::IfExpr(same_place(node, guarded))
        }
        Expr::Filter(node) => {
            let look = if TEXT_FILTERS.contains(&node.name) { operand } else { argument };
            // Without an expression it works on the text of a block.
            let text = || Filter { name: OPERAND, expr: None, args: Vec::new() };
            let input = node.expr.as_ref().map_or_else(|| Expr::Filter(Spanned::new(text(), node.span())), operand);
            Expr::Filter(same_place(
                node,
                Filter { name: node.name, expr: Some(input), args: arguments(&node.args, look) },
            ))
        }
        Expr::Test(node) => {
            let guarded = Test { name: node.name, expr: operand(&node.expr), args: arguments(&node.args, operand) };
            Expr::Test(same_place(node, guarded))
        }
        Expr::GetAttr(node) => {
            Expr::GetAttr(same_place(node, GetAttr { expr: expression(&node.expr), name: node.name }))
        }
        Expr::GetItem(node) => {
            let guarded = GetItem { expr: expression(&node.expr), subscript_expr: plain_operand(&node.subscript_expr) };
            Expr::GetItem(same_place(node, guarded))
        }
        Expr::Call(node) => Expr::Call(same_place(node, call(node))),
        Expr::List(node) => {
            Expr::List(same_place(node, List { items: node.items.iter().map(plain_operand).collect() }))
        }
        Expr::Tuple(node) => {
            Expr::Tuple(same_place(node, Tuple { items: node.items.iter().map(plain_operand).collect() }))
        }
        Expr::Map(node) => {
            let guarded = Map {
                keys: node.keys.iter().map(plain_operand).collect(),
                values: node.values.iter().map(plain_operand).collect(),
            };
            Expr::Map(same_place(node, guarded))
        }
    }
}

fn call<'a>(node: &Call<'a>) -> Call<'a> {
    match &node.expr {
        // A loop remembers what its methods are given.
        Expr::GetAttr(method) => {
            // A cycle through nothing makes the engine divide by zero; this method does not exist, which is an ordinary error.
            let is_nothing = !node.args.iter().any(|argument| matches!(argument, CallArg::Pos(_)));
            let name = if method.name == "cycle" && is_nothing { "cycle through nothing" } else { method.name };
            let guarded = GetAttr { expr: operand(&method.expr), name };
            Call { expr: Expr::GetAttr(same_place(method, guarded)), args: arguments(&node.args, plain_operand) }
        }
        function => Call { expr: expression(function), args: arguments(&node.args, operand) },
    }
}

fn arguments<'a>(arguments: &[CallArg<'a>], look: fn(&Expr<'a>) -> Expr<'a>) -> Vec<CallArg<'a>> {
    let guarded = |argument: &CallArg<'a>| match argument {
        CallArg::Pos(expr) => CallArg::Pos(look(expr)),
        CallArg::Kwarg(name, expr) => CallArg::Kwarg(name, look(expr)),
        CallArg::PosSplat(expr) => CallArg::PosSplat(look(expr)),
        CallArg::KwargSplat(expr) => CallArg::KwargSplat(look(expr)),
    };
    arguments.iter().map(guarded).collect()
}

fn same_place<T, U>(of: &Spanned<T>, node: U) -> Spanned<U> {
    Spanned::new(node, of.span())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use minijinja::machinery;

    use crate::template::{ChatTemplate, Message, NAME, RenderOptions};

    /// What templates of models do, and some that none does.
    const ORDINARY: [&str; 14] = [
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nHi<|im_end|>\n' }}\
            {% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}\
            {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}\
            {% else %}{% set rest = messages %}{% set system = false %}{% endif %}{% for message in rest %}\
            {% if loop.index0 == 0 and system is not false %}{% set content = '<<SYS>>' ~ system ~ '<</SYS>>' ~ message['content'] %}\
            {% else %}{% set content = message['content'] %}{% endif %}\
            {{ '[INST] ' + content.strip() + ' [/INST]' if message.role == 'user' else ' ' ~ content|trim ~ eos_token }}{% endfor %}",
        "{%- if tools %}{{- '# Tools' }}{%- for tool in tools %}{{- \"\\n\" }}{{- tool | tojson }}{%- endfor %}{%- endif %}\
            {%- for tool in tools if tool.name %}{{ tool.name }}{{ tool | tojson(indent=2) }}{% endfor %}",
        "{%- set ns = namespace(multi=true, last=messages|length - 1) %}{%- for message in messages[::-1] %}\
            {%- set index = (messages|length - 1) - loop.index0 %}{%- if ns.multi and message.role == 'user' and not\
            (message.content.startswith('<tool>') and message.content.endswith('</tool>')) %}{%- set ns.multi = false %}\
            {%- set ns.last = index %}{%- endif %}{%- endfor %}{{ ns.last }}{{ ns.multi }}",
        "{% set content = messages[2].content.split('</think>')[-1].lstrip('\\n') %}{{ content }}{{ messages[2].content|upper }}",
        "{% macro line(role, text='none', more=false) -%}<{{ role|upper }}>{{ text|trim|replace('a', 'b') }}{% if more %}{{ caller() }}\
            {% endif %}{%- endmacro %}{{ line('x') }}{{ line(role='y', text=messages[0].content) }}\
            {% call line('z', more=true) %}inside{% endcall %}",
        "{{ messages|map(attribute='role')|join(', ') }}{{ messages|selectattr('role', 'equalto', 'user')|list|length }}\
            {{ messages|rejectattr('role', 'equalto', 'user')|map(attribute='content')|first }}{{ messages|map(attribute='role')|unique|list }}",
        "{% set ns = namespace(found=[]) %}{% for m in messages %}{% set ns.found = ns.found + [m.role] %}{% endfor %}{{ ns.found }}\
            {{ ns.found[1:3] }}{{ ns.found[::-1]|join }}{{ ns.found|sort|reverse|list }}{{ 'user' in ns.found }}",
        "{% for key, value in messages[0].items() %}{{ key }}={{ value }};{% endfor %}{% for k, v in tools[0]|items %}{{ k }}{{ v }}{% endfor %}\
            {{ messages[0].get('name', 'nobody') }}{{ messages[0]|dictsort }}{{ messages[0].keys()|list }}",
        "{% for x in [[1, [2, [3]]], 4] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}{% endif %}{% endfor %}",
        "{% filter upper %}{{ messages[0].content }}{% endfilter %}{% set text %}a{{ 1 + 1 }}{% endset %}{{ text }}\
            {% set low | lower %}ABC{% endset %}{{ low }}{% with a = 1, b = [2, 3] %}{{ a }}{{ b }}{% endwith %}",
        "{{ 7 // 2 }}{{ 7 % 2 }}{{ 2 ** 10 }}{{ -3 }}{{ 1 < 2 < 3 }}{{ 1 if false }}{{ not true }}{{ (1, 'a') }}{{ {'a': [1, none]} }}\
            {{ missing is defined }}{{ missing|default('d') }}{{ 'abc'[1] }}{{ 'abc'[::-1] }}{{ 1.5|round|int }}{{ [3, 1, 2]|max }}",
        "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ loop.cycle('a', 'b') }}{{ loop.changed(m.role) }}\
            {{ loop.previtem.role if not loop.first }}{{ loop.nextitem.role if not loop.last }}{% if loop.index == 3 %}{% break %}{% endif %}{% else %}none{% endfor %}",
        "{% set x, y = 1, [2] %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}{{ x }}{{ y }}{{ range(3)|list }}\
            {{ dict(a=1, b=[2]) }}{{ 'a' ~ 1 ~ [1, 'b'] ~ none }}{{ ['a', 'b']|join('-') }}{{ '<'|e }}{{ ('a' * 3) ~ [0] * 2 }}",
    ];

    #[test]
    fn a_guarded_template_says_what_it_says_without() {
        let roles = ["system", "user", "assistant", "user", "assistant"];
        let content = |n: usize| format!(" <think>hm {n}</think>\nAn answer, na\u{ef}ve. ");
        let messages: Vec<Message> = roles
            .iter()
            .enumerate()
            .map(|(n, role)| Message { role: (*role).to_owned(), content: content(n) })
            .collect();
        let tools =
            serde_json::json!([{"name": "f", "parameters": {"type": "object", "required": ["a"]}}, {"other": 1.5}]);
        let options =
            RenderOptions { enable_thinking: Some(true), variables: BTreeMap::from([("tools".to_owned(), tools)]) };
        for source in ORDINARY {
            let template = ChatTemplate::new(source, Some("<s>"), Some("</s>")).unwrap();
            let parsed = machinery::parse(source, NAME, template.syntax.clone()).unwrap();
            let without = template.evaluate(&parsed, template.variables(&messages, true, &options));
            let without = without.unwrap_or_else(|error| panic!("{source}: {error:?}"));
            assert!(!without.is_empty(), "{source}");
            assert_eq!(template.render(&messages, true, &options).unwrap(), without, "{source}");
        }
    }
}
