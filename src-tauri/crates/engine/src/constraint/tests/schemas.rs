//! Schemas at random, and what satisfies a schema: written for these tests and after nothing but the words of the standard.

use serde_json::{Map, Value, json};

/// Numbers that look random, the same every time.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % end.max(1)
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

const NAMES: [&str; 8] = ["a", "ab", "b", "name", "née", "say \"hi\"", "the", "z\n"];
const WORDS: [&str; 7] = ["", "a", "ab", "abc", "tab\t", "🦊", "the one"];

/// A schema that some value satisfies. Names are in order, as a map has them.
pub(super) fn schema(random: &mut Random) -> Value {
    let mut schema = part(random, 3);
    // Two definitions, of which the first may contain itself, behind something that can end.
    let node = json!({
        "type": "object",
        "properties": {"next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}, "x": part(random, 0)},
        "required": ["next"],
        "additionalProperties": false
    });
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("$defs".to_owned(), json!({"node": node, "leaf/~": part(random, 0)}));
    }
    schema
}

fn part(random: &mut Random, depth: usize) -> Value {
    let kinds = if depth == 0 { 7 } else { 13 };
    match random.below(kinds) {
        0 => json!({"type": "boolean", "title": "yes or no"}),
        1 if random.chance(50) => json!({"type": "integer"}),
        1 => {
            let low = random.pick(&[-1_000_000, -305, -17, -1, 0, 1, 9, 98, 12_345]);
            let high = low + random.pick(&[0, 1, 8, 95, 4321]);
            random.pick(&[
                json!({"type": "integer", "minimum": low, "maximum": high}),
                json!({"type": "integer", "exclusiveMinimum": low - 1, "maximum": high}),
                json!({"type": ["integer", "null"], "minimum": f64::from(low) - 0.5, "exclusiveMaximum": high + 1}),
                json!({"type": "integer", "exclusiveMaximum": f64::from(high) + 0.5}),
                json!({"type": "integer", "minimum": low}),
            ].each_ref()).clone()
        }
        2 => json!({"type": "number"}),
        3 => text(random),
        4 => json!({"enum": [1, 12, -1.5, "one", "on", null, [1, "x"], {"a": true}]}),
        5 => {
            let words: Vec<&str> = (0..=random.below(4)).map(|_| random.pick(&WORDS)).collect();
            json!({"type": "string", "enum": words})
        }
        6 => json!({"type": random.pick(&[["null", "boolean"], ["integer", "null"], ["number", "integer"]])}),
        7 | 8 => object(random, depth - 1),
        9 => list(random, depth - 1),
        10 => {
            let choices: Vec<Value> = (0..=random.below(3)).map(|_| part(random, depth - 1)).collect();
            let name = random.pick(&["anyOf", "oneOf"]);
            json!({name: choices})
        }
        11 => json!({"$ref": random.pick(&["#/$defs/node", "#/$defs/leaf~1~0"])}),
        _ => {
            json!({"const": random.pick(&[json!("word"), json!(3), json!({"k": [1, 2]})].each_ref()), "description": "x"})
        }
    }
}

fn text(random: &mut Random) -> Value {
    let mut schema = Map::from_iter([("type".to_owned(), json!("string"))]);
    let least = random.below(4);
    if random.chance(50) {
        schema.insert("minLength".to_owned(), least.into());
    }
    if random.chance(80) {
        schema.insert("maxLength".to_owned(), (least + random.below(6)).into());
    }
    schema.into()
}

fn object(random: &mut Random, depth: usize) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for _ in 0..random.below(5) {
        let name = random.pick(&NAMES);
        properties.insert(name.to_owned(), part(random, depth));
        if random.chance(60) && !required.contains(&name) {
            required.push(name);
        }
    }
    let mut schema = json!({"type": "object", "properties": properties, "required": required});
    if random.chance(70) {
        let others = if random.chance(60) { json!(false) } else { part(random, 0) };
        schema["additionalProperties"] = others;
    }
    schema
}

fn list(random: &mut Random, depth: usize) -> Value {
    let mut schema = json!({"type": "array", "items": part(random, depth)});
    let first: Vec<Value> = (0..random.below(3)).map(|_| part(random, depth)).collect();
    let count = first.len();
    if random.chance(40) {
        schema["prefixItems"] = first.into();
        if random.chance(30) {
            schema["items"] = json!(false);
            schema["maxItems"] = count.into();
            return schema;
        }
    }
    let least = random.below(3);
    if random.chance(50) {
        schema["minItems"] = least.into();
    }
    if random.chance(70) {
        schema["maxItems"] = (least + random.below(3)).into();
    }
    schema
}

/// Whether a value satisfies a schema.
pub(super) fn satisfies(root: &Value, schema: &Value, value: &Value) -> bool {
    let Some(schema) = schema.as_object() else { return schema.as_bool().unwrap() };
    let judge = |schema: &Value, value: &Value| satisfies(root, schema, value);
    schema.iter().all(|(keyword, wanted)| match keyword.as_str() {
        "type" => {
            let of = |name: &Value| is_of(name.as_str().unwrap(), value);
            wanted.as_array().map_or_else(|| of(wanted), |names| names.iter().any(of))
        }
        "enum" => wanted.as_array().unwrap().iter().any(|one| is_equal(one, value)),
        "const" => is_equal(wanted, value),
        "anyOf" => wanted.as_array().unwrap().iter().any(|one| judge(one, value)),
        // Read as `anyOf`: which of several it is cannot be known beforehand.
        "oneOf" => wanted.as_array().unwrap().iter().any(|one| judge(one, value)),
        "$ref" => judge(root.pointer(wanted.as_str().unwrap().trim_start_matches('#')).unwrap(), value),
        "properties" => value.as_object().is_none_or(|members| {
            wanted
                .as_object()
                .unwrap()
                .iter()
                .all(|(name, one)| members.get(name).is_none_or(|value| judge(one, value)))
        }),
        "required" => value.as_object().is_none_or(|members| {
            wanted.as_array().unwrap().iter().all(|name| members.contains_key(name.as_str().unwrap()))
        }),
        "additionalProperties" => value.as_object().is_none_or(|members| {
            let known = |name: &str| schema.get("properties").is_some_and(|known| known.get(name).is_some());
            members.iter().all(|(name, value)| known(name) || judge(wanted, value))
        }),
        "items" => value.as_array().is_none_or(|items| {
            let first = schema.get("prefixItems").map_or(0, |first| first.as_array().unwrap().len());
            items.iter().skip(first).all(|value| judge(wanted, value))
        }),
        "prefixItems" => value
            .as_array()
            .is_none_or(|items| items.iter().zip(wanted.as_array().unwrap()).all(|(value, one)| judge(one, value))),
        "minimum" => value.as_f64().is_none_or(|number| number >= wanted.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|number| number <= wanted.as_f64().unwrap()),
        "exclusiveMinimum" => value.as_f64().is_none_or(|number| number > wanted.as_f64().unwrap()),
        "exclusiveMaximum" => value.as_f64().is_none_or(|number| number < wanted.as_f64().unwrap()),
        "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= wanted.as_u64().unwrap()),
        "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= wanted.as_u64().unwrap()),
        "minLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 >= wanted.as_u64().unwrap()),
        "maxLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 <= wanted.as_u64().unwrap()),
        "title" | "description" | "$defs" => true,
        other => panic!("{other} is not known to the tests"),
    })
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => panic!("{name} is no type"),
    }
}

fn is_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| is_equal(a, b)))
        }
        _ => a == b,
    }
}
