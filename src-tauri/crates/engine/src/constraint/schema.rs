//! From a schema to a grammar. What is not understood is refused by name; nothing that restricts is ever left out.

use std::collections::{BTreeSet, HashMap};

use super::grammar::{ANY_LENGTH, Builder, END, Grammar, Node, NodeId, TooLarge};
use super::json::{self, Json};
use super::{MAX_DIGITS, MAX_EXPONENT_DIGITS, MAX_ITEMS, MAX_LENGTH, MAX_NESTING, MAX_SCHEMA_BYTES, MAX_SCHEMA_DEPTH};

/// Why a schema cannot be served. Names keywords and the way to them, which are the customer's words, so it can't be printed.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaError {
    /// More bytes than [`MAX_SCHEMA_BYTES`].
    TooLong {
        /// How many.
        bytes: usize,
    },
    /// Not JSON, or an object has a name twice.
    NotJson,
    /// Deeper than [`MAX_SCHEMA_DEPTH`].
    TooDeep,
    /// What would be made of the schema is too large: too many names, words, items or choices.
    TooLarge,
    /// A keyword that is not supported.
    Unsupported {
        /// The keyword.
        keyword: String,
        /// Where.
        place: String,
    },
    /// A keyword whose value is not what it must be, or is out of bounds.
    Invalid {
        /// The keyword.
        keyword: String,
        /// What is wrong with it.
        fault: String,
        /// Where.
        place: String,
    },
    /// Something that is no schema, where one is expected.
    NoSchema {
        /// Where.
        place: String,
    },
    /// No value satisfies the schema, or only such as never end.
    Impossible,
}

impl SchemaError {
    /// What is wrong, in one sentence for the customer. Names are cut short.
    pub fn message(&self) -> String {
        match self {
            Self::TooLong { bytes } => format!("the schema has {bytes} bytes, {MAX_SCHEMA_BYTES} are allowed"),
            Self::NotJson => "the schema is not valid JSON, or a name comes twice in one of its objects".to_owned(),
            Self::TooDeep => format!("the schema nests deeper than {MAX_SCHEMA_DEPTH} levels"),
            Self::TooLarge => "the schema has too many names, words, items or choices".to_owned(),
            Self::Unsupported { keyword, place } => format!("at {place}: '{keyword}' is not supported"),
            Self::Invalid { keyword, fault, place } => format!("at {place}: '{keyword}' {fault}"),
            Self::NoSchema { place } => format!("at {place}: a schema must be an object, true or false"),
            Self::Impossible => format!("no value of at most {MAX_NESTING} levels satisfies the schema"),
        }
    }
}

impl From<TooLarge> for SchemaError {
    fn from(_: TooLarge) -> Self {
        Self::TooLarge
    }
}

/// Keywords that restrict nothing.
const ANNOTATIONS: [&str; 13] = [
    "title",
    "description",
    "default",
    "examples",
    "$schema",
    "$id",
    "$comment",
    "deprecated",
    "readOnly",
    "writeOnly",
    // Where references lead; read when one does.
    "$defs",
    "definitions",
    "type",
];

const OF_OBJECTS: [&str; 3] = ["properties", "required", "additionalProperties"];
const OF_ARRAYS: [&str; 4] = ["items", "prefixItems", "minItems", "maxItems"];
const OF_TEXTS: [&str; 2] = ["minLength", "maxLength"];
const OF_INTEGERS: [&str; 4] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];
/// Keywords that stand for a whole schema, so that nothing but annotations may stand beside them.
const WHOLE: [&str; 5] = ["$ref", "anyOf", "oneOf", "enum", "const"];

const TYPES: [&str; 7] = ["object", "array", "string", "number", "integer", "boolean", "null"];

/// Most steps of looking up references.
const MAX_LOOKUPS: usize = 1 << 24;
/// Of names and places that are told.
const MAX_TOLD: usize = 64;

impl Grammar {
    /// The form of the values that a schema admits, written as JSON.
    pub fn of_schema(schema: &str) -> Result<Self, SchemaError> {
        if schema.len() > MAX_SCHEMA_BYTES {
            return Err(SchemaError::TooLong { bytes: schema.len() });
        }
        if depth(schema) > MAX_SCHEMA_DEPTH {
            return Err(SchemaError::TooDeep);
        }
        let schema: Json = serde_json::from_str(schema).map_err(|_| SchemaError::NotJson)?;
        let mut compiler = Compiler::new(&schema);
        let value = compiler.reference("#", "#")?;
        compiler.pending()?;
        compiler.finish(value)
    }

    /// The form of any object: what `json_object` asks for.
    pub fn of_any_object() -> Result<Self, SchemaError> {
        let nothing = Json::Null;
        let mut compiler = Compiler::new(&nothing);
        let value = compiler.any_object()?;
        compiler.finish(value)
    }
}

/// Levels of brackets, as long as they are in order.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => while bytes.next().is_some_and(|byte| byte != b'"' && (byte != b'\\' || bytes.next().is_some())) {},
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The beginning of a text, for a message.
fn told(text: &str) -> String {
    if text.chars().nth(MAX_TOLD).is_none() {
        return text.to_owned();
    }
    text.chars().take(MAX_TOLD).chain(['…']).collect()
}

/// The way to something, as far as it is told.
fn under(place: &str, part: &str) -> String {
    if place.len() > 4 * MAX_TOLD { place.to_owned() } else { format!("{place}/{}", told(part)) }
}

fn invalid<T>(place: &str, keyword: &str, fault: impl Into<String>) -> Result<T, SchemaError> {
    Err(SchemaError::Invalid { keyword: told(keyword), fault: fault.into(), place: told(place) })
}

/// One object of a schema.
struct Keywords<'a, 'p> {
    members: &'a [(String, Json)],
    place: &'p str,
}

impl<'a> Keywords<'a, '_> {
    fn get(&self, keyword: &str) -> Option<&'a Json> {
        self.members.iter().find(|(name, _)| name == keyword).map(|(_, value)| value)
    }

    fn has_any(&self, keywords: &[&str]) -> bool {
        self.members.iter().any(|(name, _)| keywords.contains(&name.as_str()))
    }

    fn under(&self, keyword: &str) -> String {
        under(self.place, keyword)
    }

    fn invalid<T>(&self, keyword: &str, fault: impl Into<String>) -> Result<T, SchemaError> {
        invalid(self.place, keyword, fault)
    }

    /// A number of things, no higher than this.
    fn count(&self, keyword: &str, highest: u64) -> Result<Option<u64>, SchemaError> {
        let Some(value) = self.get(keyword) else { return Ok(None) };
        match value.count() {
            Some(count) if count <= highest => Ok(Some(count)),
            Some(_) => self.invalid(keyword, format!("may be at most {highest} here")),
            None => self.invalid(keyword, "must be a whole number from 0 up"),
        }
    }

    /// The types it names; `None` if it names none.
    fn types(&self) -> Result<Option<Vec<&'a str>>, SchemaError> {
        let Some(value) = self.get("type") else { return Ok(None) };
        let named: Option<Vec<&str>> = match value {
            Json::Text(name) => Some(vec![name.as_str()]),
            Json::List(names) => names.iter().map(Json::text).collect(),
            _ => None,
        };
        match named {
            Some(names) if !names.is_empty() && names.iter().all(|name| TYPES.contains(name)) => Ok(Some(names)),
            _ => self.invalid("type", format!("must be one or several of {}", TYPES.join(", "))),
        }
    }
}

struct Compiler<'a> {
    root: &'a Json,
    builder: Builder,
    /// What references lead to, and which of these are still to be read.
    references: HashMap<String, NodeId>,
    waiting: Vec<(String, NodeId)>,
    lookups: usize,
    any: Option<NodeId>,
    number: Option<NodeId>,
    integer: Option<NodeId>,
}

impl<'a> Compiler<'a> {
    fn new(root: &'a Json) -> Self {
        Self {
            root,
            builder: Builder::new(),
            references: HashMap::new(),
            waiting: Vec::new(),
            lookups: 0,
            any: None,
            number: None,
            integer: None,
        }
    }

    fn finish(mut self, value: NodeId) -> Result<Grammar, SchemaError> {
        let root = self.builder.space(value)?;
        self.builder.finish(root)?.ok_or(SchemaError::Impossible)
    }

    /// The node of what a reference leads to, which is read later.
    fn reference(&mut self, to: &str, place: &str) -> Result<NodeId, SchemaError> {
        if let Some(&node) = self.references.get(to) {
            return Ok(node);
        }
        if !to.starts_with('#') {
            return invalid(place, "$ref", "may only lead into the schema itself, so it must begin with #");
        }
        let node = self.builder.open()?;
        self.references.insert(to.to_owned(), node);
        self.waiting.push((to.to_owned(), node));
        Ok(node)
    }

    /// Reads what references lead to, until there is nothing new.
    fn pending(&mut self) -> Result<(), SchemaError> {
        while let Some((to, node)) = self.waiting.pop() {
            let schema = self.find(&to)?;
            let value = self.schema(schema, &told(&to))?;
            self.builder.choose(node, vec![value]);
        }
        Ok(())
    }

    fn find(&mut self, to: &str) -> Result<&'a Json, SchemaError> {
        let nowhere = || invalid(to, "$ref", "leads nowhere");
        let mut at = self.root;
        let rest = to.strip_prefix('#').unwrap_or(to);
        if rest.is_empty() {
            return Ok(at);
        }
        let Some(rest) = rest.strip_prefix('/') else { return nowhere() };
        for part in rest.split('/') {
            let name = part.replace("~1", "/").replace("~0", "~");
            self.lookups += match at {
                Json::Object(members) => members.len(),
                _ => 1,
            };
            if self.lookups > MAX_LOOKUPS {
                return Err(SchemaError::TooLarge);
            }
            let inside = match at {
                Json::Object(members) => members.iter().find(|(key, _)| *key == name).map(|(_, value)| value),
                Json::List(items) => name.parse().ok().and_then(|index: usize| items.get(index)),
                _ => None,
            };
            match inside {
                Some(inside) => at = inside,
                None => return nowhere(),
            }
        }
        Ok(at)
    }

    /// A value that a schema admits.
    fn schema(&mut self, schema: &'a Json, place: &str) -> Result<NodeId, SchemaError> {
        let members = match schema {
            Json::Bool(true) => return self.any(),
            Json::Bool(false) => return Ok(self.builder.either(Vec::new())?),
            Json::Object(members) => members,
            _ => return Err(SchemaError::NoSchema { place: told(place) }),
        };
        let keywords = Keywords { members, place };
        for (name, _) in members {
            let known = [&ANNOTATIONS[..], &OF_OBJECTS, &OF_ARRAYS, &OF_TEXTS, &OF_INTEGERS, &WHOLE];
            if !known.iter().any(|some| some.contains(&name.as_str())) {
                return Err(SchemaError::Unsupported { keyword: told(name), place: told(place) });
            }
        }
        let types = keywords.types()?;
        if let Some(whole) = WHOLE.into_iter().find(|keyword| keywords.get(keyword).is_some()) {
            return self.whole(&keywords, whole, types.as_deref());
        }
        let types = types.unwrap_or_else(|| {
            // A schema that speaks of members means objects: this admits fewer values than it could, and none that are wrong.
            let spoken: [(&[&str], &str); 3] = [(&OF_OBJECTS, "object"), (&OF_ARRAYS, "array"), (&OF_TEXTS, "string")];
            let of = spoken.into_iter().filter(|(words, _)| keywords.has_any(words));
            of.map(|(_, name)| name).collect()
        });
        let bound = OF_INTEGERS.into_iter().find(|keyword| keywords.get(keyword).is_some());
        if let Some(bound) = bound.filter(|_| types.is_empty() || types.contains(&"number")) {
            return keywords.invalid(bound, "is only supported for the type integer");
        }
        if types.is_empty() {
            return self.any();
        }
        let mut choices = Vec::new();
        for name in &types {
            choices.push(match *name {
                "object" => self.object(&keywords)?,
                "array" => self.array(&keywords)?,
                "string" => self.text(&keywords)?,
                // Every integer is a number.
                "integer" if types.contains(&"number") => continue,
                "integer" if bound.is_some() => self.integer_within(&keywords)?,
                "integer" => self.integer()?,
                "number" => self.number()?,
                "boolean" => self.builder.words(vec![b"true".to_vec(), b"false".to_vec()])?,
                _ => self.builder.literal(b"null", END)?,
            });
        }
        self.one_of(choices)
    }

    fn one_of(&mut self, choices: Vec<NodeId>) -> Result<NodeId, SchemaError> {
        match choices.as_slice() {
            [only] => Ok(*only),
            _ => Ok(self.builder.either(choices)?),
        }
    }

    /// A schema that is one keyword.
    fn whole(
        &mut self,
        keywords: &Keywords<'a, '_>,
        keyword: &'static str,
        types: Option<&[&str]>,
    ) -> Result<NodeId, SchemaError> {
        let words = matches!(keyword, "enum" | "const");
        let beside = keywords.members.iter().map(|(name, _)| name.as_str()).find(|name| {
            let annotates = ANNOTATIONS.contains(name) && (*name != "type" || words);
            *name != keyword && !annotates
        });
        if let Some(beside) = beside {
            return keywords.invalid(beside, format!("is not supported beside '{keyword}'"));
        }
        let Some(value) = keywords.get(keyword) else { return Ok(END) };
        match keyword {
            "$ref" => match value.text() {
                Some(to) => self.reference(to, keywords.place),
                None => keywords.invalid(keyword, "must be a string"),
            },
            "anyOf" | "oneOf" => {
                let Some(schemas) = value.list().filter(|schemas| !schemas.is_empty()) else {
                    return keywords.invalid(keyword, "must be a list of schemas, at least one");
                };
                let mut choices = Vec::new();
                for (index, schema) in schemas.iter().enumerate() {
                    choices.push(self.schema(schema, &under(&keywords.under(keyword), &index.to_string()))?);
                }
                self.one_of(choices)
            }
            "enum" => match value.list() {
                Some(values) if !values.is_empty() => self.words(values, types),
                _ => keywords.invalid(keyword, "must be a list of values, at least one"),
            },
            _ => self.words(std::slice::from_ref(value), types),
        }
    }

    /// One of these values, of those that are of these types.
    fn words(&mut self, values: &[Json], types: Option<&[&str]>) -> Result<NodeId, SchemaError> {
        let fits = |value: &&Json| {
            types
                .is_none_or(|types| types.contains(&value.kind()) || (types.contains(&"integer") && value.is_integer()))
        };
        let written = |value: &Json| {
            let mut bytes = Vec::new();
            value.write(&mut bytes);
            bytes
        };
        let words: Vec<Vec<u8>> = values.iter().filter(fits).map(written).collect();
        Ok(self.builder.words(words)?)
    }

    fn object(&mut self, keywords: &Keywords<'a, '_>) -> Result<NodeId, SchemaError> {
        let mut members: Vec<(&str, bool, NodeId)> = Vec::new();
        let properties = keywords.get("properties").map(Json::object);
        let properties = match properties {
            Some(None) => return keywords.invalid("properties", "must be an object"),
            Some(Some(properties)) => properties,
            None => &[],
        };
        let required: Vec<&str> = match keywords
            .get("required")
            .map(|names| names.list().and_then(|names| names.iter().map(Json::text).collect::<Option<Vec<&str>>>()))
        {
            Some(None) => return keywords.invalid("required", "must be a list of names"),
            Some(Some(names)) => names,
            None => Vec::new(),
        };
        let mut missing: BTreeSet<&str> = required.iter().copied().collect();
        for (name, schema) in properties {
            let value = self.schema(schema, &under(&keywords.under("properties"), name))?;
            members.push((name, missing.remove(name.as_str()), value));
        }
        let others = match keywords.get("additionalProperties") {
            Some(Json::Bool(false)) => None,
            // Whoever lists members wants these; more would be admitted, but need not be offered.
            None if keywords.get("properties").is_some() => None,
            None => Some(self.any()?),
            Some(schema) => Some(self.schema(schema, &keywords.under("additionalProperties"))?),
        };
        for name in required {
            if !missing.remove(name) {
                continue;
            }
            let value = match (others, keywords.get("additionalProperties")) {
                (Some(value), _) => value,
                (None, None) => self.any()?,
                (None, Some(_)) => {
                    return keywords.invalid("required", "has a name that 'additionalProperties' forbids");
                }
            };
            members.push((name, true, value));
        }
        self.members(&members, others)
    }

    /// Members in order, of which those that are not required may be left out, and then others.
    fn members(&mut self, members: &[(&str, bool, NodeId)], others: Option<NodeId>) -> Result<NodeId, SchemaError> {
        let close = self.builder.byte(b'}', END)?;
        // What may come behind all that are named; and further ones.
        let mut rest = Rest { names: self.builder.either(Vec::new())?, may_end: true };
        let mut behind = close;
        if let Some(value) = others {
            let again = self.builder.open()?;
            let after = self.builder.space(again)?;
            let value = self.builder.node(Node::Call { callee: value, back: after })?;
            let value = self.colon(value)?;
            let name = if members.is_empty() {
                self.builder.node(Node::Text { least: 0, most: ANY_LENGTH, next: value })?
            } else {
                // Without escapes, by which one of those named could be spelt in another way.
                let names = members.iter().map(|(name, ..)| *name).filter(|name| json::is_plain(name));
                let names = self.builder.words(names.map(|name| name.as_bytes().to_vec()).collect())?;
                self.builder.node(Node::Name { names, next: value })?
            };
            rest.names = self.builder.byte(b'"', name)?;
            let comma = self.comma(rest.names)?;
            self.builder.choose(again, vec![comma, close]);
            behind = again;
        }
        for (name, required, value) in members.iter().rev() {
            let after = self.builder.space(behind)?;
            let value = self.builder.node(Node::Call { callee: *value, back: after })?;
            let value = self.colon(value)?;
            let mut written = Vec::new();
            json::write_text(name, &mut written);
            let name = self.builder.literal(&written, value)?;
            rest = if *required {
                Rest { names: name, may_end: false }
            } else {
                Rest { names: self.builder.either(vec![name, rest.names])?, may_end: rest.may_end }
            };
            let comma = self.comma(rest.names)?;
            behind = if rest.may_end { self.builder.either(vec![comma, close])? } else { comma };
        }
        let first = if rest.may_end { self.builder.either(vec![rest.names, close])? } else { rest.names };
        let inside = self.builder.space(first)?;
        Ok(self.builder.byte(b'{', inside)?)
    }

    fn colon(&mut self, next: NodeId) -> Result<NodeId, SchemaError> {
        let next = self.builder.space(next)?;
        let colon = self.builder.byte(b':', next)?;
        Ok(self.builder.space(colon)?)
    }

    fn comma(&mut self, next: NodeId) -> Result<NodeId, SchemaError> {
        let next = self.builder.space(next)?;
        Ok(self.builder.byte(b',', next)?)
    }

    fn array(&mut self, keywords: &Keywords<'a, '_>) -> Result<NodeId, SchemaError> {
        let least = keywords.count("minItems", MAX_ITEMS)?.unwrap_or(0) as usize;
        let most = keywords.count("maxItems", MAX_ITEMS)?.map(|most| most as usize);
        let mut first = Vec::new();
        match keywords.get("prefixItems").map(Json::list) {
            None => {}
            Some(None) => return keywords.invalid("prefixItems", "must be a list of schemas"),
            Some(Some(schemas)) => {
                for (index, schema) in schemas.iter().enumerate() {
                    first.push(self.schema(schema, &under(&keywords.under("prefixItems"), &index.to_string()))?);
                }
            }
        }
        let others = match keywords.get("items") {
            Some(Json::List(_)) => {
                return keywords.invalid("items", "must be a schema; a list is called 'prefixItems'");
            }
            Some(Json::Bool(false)) => None,
            // Whoever lists the first items wants these; more would be admitted, but need not be offered.
            None if !first.is_empty() && least <= first.len() => None,
            None => Some(self.any()?),
            Some(schema) => Some(self.schema(schema, &keywords.under("items"))?),
        };
        let most = match (most, others) {
            (most, None) => Some(most.unwrap_or(usize::MAX).min(first.len())),
            (most, Some(_)) => most,
        };
        let impossible = most.is_some_and(|most| most < least);
        if impossible {
            return Ok(self.builder.either(Vec::new())?);
        }
        let close = self.builder.byte(b']', END)?;
        let counted = most.unwrap_or_else(|| least.max(first.len()));
        // Behind all that are counted: the end, or more of the same.
        let mut behind = close;
        let mut entry = close;
        if let (None, Some(value)) = (most, others) {
            let again = self.builder.open()?;
            let after = self.builder.space(again)?;
            let item = self.builder.node(Node::Call { callee: value, back: after })?;
            let comma = self.comma(item)?;
            self.builder.choose(again, vec![comma, close]);
            behind = again;
            entry = self.builder.either(vec![item, close])?;
        }
        for index in (0..counted).rev() {
            let Some(value) = first.get(index).copied().or(others) else { break };
            let after = self.builder.space(behind)?;
            let item = self.builder.node(Node::Call { callee: value, back: after })?;
            let comma = self.comma(item)?;
            let may_end = index >= least;
            behind = if may_end { self.builder.either(vec![comma, close])? } else { comma };
            entry = if may_end { self.builder.either(vec![item, close])? } else { item };
        }
        let inside = self.builder.space(entry)?;
        Ok(self.builder.byte(b'[', inside)?)
    }

    fn text(&mut self, keywords: &Keywords<'a, '_>) -> Result<NodeId, SchemaError> {
        let least = keywords.count("minLength", MAX_LENGTH)?.unwrap_or(0) as u32;
        let most = keywords.count("maxLength", MAX_LENGTH)?.map_or(ANY_LENGTH, |most| most as u32);
        let inside = self.builder.node(Node::Text { least, most, next: END })?;
        Ok(self.builder.byte(b'"', inside)?)
    }

    fn any(&mut self) -> Result<NodeId, SchemaError> {
        if let Some(any) = self.any {
            return Ok(any);
        }
        let any = self.builder.open()?;
        self.any = Some(any);
        let object = self.any_object()?;
        let nothing = Keywords { members: &[], place: "" };
        let array = self.array(&nothing)?;
        let text = self.text(&nothing)?;
        let number = self.number()?;
        let words = self.builder.words(vec![b"true".to_vec(), b"false".to_vec(), b"null".to_vec()])?;
        self.builder.choose(any, vec![object, array, text, number, words]);
        Ok(any)
    }

    fn any_object(&mut self) -> Result<NodeId, SchemaError> {
        let value = self.any()?;
        self.members(&[], Some(value))
    }

    /// Up to so many digits, then something else.
    fn digits(&mut self, most: usize, behind: NodeId) -> Result<NodeId, SchemaError> {
        let mut node = behind;
        for _ in 0..most {
            let digit = self.builder.bytes(&[(b'0', b'9')], node)?;
            node = self.builder.either(vec![digit, behind])?;
        }
        Ok(node)
    }

    /// The digits before the point, without zeros in front.
    fn whole_part(&mut self, behind: NodeId) -> Result<NodeId, SchemaError> {
        let more = self.digits(MAX_DIGITS - 1, behind)?;
        Ok(self.builder.bytes(&[(b'1', b'9')], more)?)
    }

    fn integer(&mut self) -> Result<NodeId, SchemaError> {
        if let Some(integer) = self.integer {
            return Ok(integer);
        }
        let natural = self.whole_part(END)?;
        let negative = self.builder.byte(b'-', natural)?;
        let zero = self.builder.byte(b'0', END)?;
        let integer = self.builder.either(vec![natural, negative, zero])?;
        self.integer = Some(integer);
        Ok(integer)
    }

    /// An integer between bounds.
    fn integer_within(&mut self, keywords: &Keywords<'a, '_>) -> Result<NodeId, SchemaError> {
        let largest = 10_i64.pow(MAX_DIGITS as u32) - 1;
        let mut low = -largest;
        let mut high = largest;
        for keyword in OF_INTEGERS {
            let Some(value) = keywords.get(keyword) else { continue };
            let Json::Number(number) = value else { return keywords.invalid(keyword, "must be a number") };
            // Whole numbers that 64 bits cannot hold are floats here, and beyond all that is written.
            let (floor, ceiling) = number.as_i64().map_or_else(
                || number.as_f64().map_or((0, 0), |value| (value.floor() as i64, value.ceil() as i64)),
                |value| (value, value),
            );
            match keyword {
                "minimum" => low = low.max(ceiling),
                "exclusiveMinimum" => low = low.max(floor.saturating_add(1)),
                "maximum" => high = high.min(floor),
                _ => high = high.min(ceiling.saturating_sub(1)),
            }
        }
        let mut choices = Vec::new();
        if low <= 0 && 0 <= high {
            choices.push(self.builder.byte(b'0', END)?);
        }
        if low < 0 {
            // Of the distance from 0.
            let negative = self.naturals(high.saturating_neg().max(1), low.saturating_neg())?;
            choices.push(self.builder.byte(b'-', negative)?);
        }
        choices.push(self.naturals(low.max(1), high)?);
        Ok(self.builder.either(choices)?)
    }

    /// Whole numbers from 1 up between bounds.
    fn naturals(&mut self, low: i64, high: i64) -> Result<NodeId, SchemaError> {
        let mut choices = Vec::new();
        for length in 1..=MAX_DIGITS as u32 {
            let first = low.max(10_i64.pow(length - 1));
            let last = high.min(10_i64.pow(length) - 1);
            if first <= last {
                choices.push(self.of_length(first.to_string().as_bytes(), last.to_string().as_bytes())?);
            }
        }
        Ok(self.builder.either(choices)?)
    }

    /// Numbers between two of as many digits: from the last digit on, what may come where so far all digits were free, were those
    /// of the lower bound, those of the upper one, or those of both.
    fn of_length(&mut self, low: &[u8], high: &[u8]) -> Result<NodeId, SchemaError> {
        let [mut free, mut lower, mut upper, mut both] = [END; 4];
        for (&low, &high) in low.iter().zip(high).rev() {
            let above = self.digit(low + 1, b'9', free)?;
            let below = self.digit(b'0', high - 1, free)?;
            let between = self.digit(low + 1, high - 1, free)?;
            let at_low = self.builder.byte(low, lower)?;
            let at_high = self.builder.byte(high, upper)?;
            both = if low == high {
                self.builder.byte(low, both)?
            } else {
                self.builder.either(vec![at_low, between, at_high])?
            };
            lower = self.builder.either(vec![at_low, above])?;
            upper = self.builder.either(vec![at_high, below])?;
            free = self.digit(b'0', b'9', free)?;
        }
        Ok(both)
    }

    /// One digit of a range that may be empty.
    fn digit(&mut self, low: u8, high: u8, next: NodeId) -> Result<NodeId, SchemaError> {
        let ranges = [(low, high)];
        Ok(self.builder.bytes(if low <= high { &ranges } else { &[] }, next)?)
    }

    fn number(&mut self) -> Result<NodeId, SchemaError> {
        if let Some(number) = self.number {
            return Ok(number);
        }
        let power = self.digits(MAX_EXPONENT_DIGITS - 1, END)?;
        let power = self.builder.bytes(&[(b'0', b'9')], power)?;
        let sign = self.builder.bytes(&[(b'+', b'+'), (b'-', b'-')], power)?;
        let power = self.builder.either(vec![power, sign])?;
        let power = self.builder.bytes(&[(b'E', b'E'), (b'e', b'e')], power)?;
        let behind = self.builder.either(vec![END, power])?;
        let fraction = self.digits(MAX_DIGITS - 1, behind)?;
        let fraction = self.builder.bytes(&[(b'0', b'9')], fraction)?;
        let point = self.builder.byte(b'.', fraction)?;
        let behind = self.builder.either(vec![behind, point])?;
        let whole = self.whole_part(behind)?;
        let zero = self.builder.byte(b'0', behind)?;
        let positive = self.builder.either(vec![whole, zero])?;
        let negative = self.builder.byte(b'-', positive)?;
        let number = self.builder.either(vec![positive, negative])?;
        self.number = Some(number);
        Ok(number)
    }
}

/// What may come behind some members.
struct Rest {
    /// The names.
    names: NodeId,
    /// Whether the object may end before any of them.
    may_end: bool,
}
