//! Types: a JSON schema as the service writes it in TypeScript.
//!
//! | schema | text | prompts, schemas, programs |
//! |---|---|---|
//! | object | `{ key: string, other?: number }` where nothing in it has a comment or a default; else each member on a line | 397 of 402, 120, 12 |
//! | title, description | comment lines above a member: title, `//`, description; of the parameters themselves right behind the brace | 166 of 167, 52, 9 |
//! | description of the parameters, Responses API | comment lines before the brace, as openai/harmony has them | 6 of 6, 1, 1 |
//! | default | `// default: VALUE` behind the member, as JSON; `null` too | 25 of 26, 7, 3 |
//! | a bound | `// minimum: 1` behind the member, of a `number` as a float: `0.0`; not for gpt-4 of June 2023 (4 of 4) | 38 of 38, 2, 2 |
//! | two bounds | both, `, ` between | 8 of 16, 3, 2 |
//! | `$ref` | what it refers to, in its place | 23 of 23, 3, 2 |
//! | array | `T[]` | 55 of 59, 13, 2 |
//! | array of objects with comments | `Array<`, the object on lines of its own under its title, `>` | 20 of 20, 3, 1 |
//! | enum | its values as JSON, ` \| ` between | 6 of 6, 4, 3 |
//! | enum with a default | the default in quotes, as any text | 2 of 2, 1, 1 |
//! | anyOf of types without comments | ` \| ` between | 2 of 6, 2, 2 |
//! | anyOf, one of whose types has a format | each type on a line, behind `Format: "date"` as a comment | 2 of 2, 1, 1; the text is a guess of the right length |
//! | list of types | the same, the description above each again; not in the Responses API | 12 of 12, 2, 1 |
//!
//! All that are off come from a recorder that sorts keys: with `[]` last on a line, or a comment,
//! another order has another count.
//!
//! The comments of a property stand above it; a schema elsewhere, in a list or a union, carries
//! its own comments.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::Value;

use super::budget::RenderBudget;
use super::dialect::Dialect;
use super::text::{comment, lines, some, some_text};
use crate::prompt::json::{SPACED, to_string};
use crate::prompt::object::Object;

/// Schemas nested deeper than this are `any`.
const DEPTH_MAX: usize = 12;

/// References that are followed from one place.
const REFERENCES_MAX: usize = 5;

/// Keywords that are shown as a default is.
pub(super) const BOUNDS: [&str; 6] =
    ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength"];

/// Renders one function's schema.
pub(super) struct Renderer<'a> {
    /// `definitions` and `$defs` of the parameters.
    definitions: [Option<&'a Object>; 2],
    dialect: Dialect,
    pub(super) budget: RenderBudget,
    /// Something was rendered in a way that too few recordings have.
    pub(super) doubtful: bool,
}

/// One member of an object type.
struct ObjectMember {
    above: Vec<String>,
    text: String,
    after: String,
}

impl<'a> Renderer<'a> {
    /// `budget` is what is left for the request.
    pub(super) fn new(function: &'a Object, dialect: Dialect, budget: RenderBudget) -> Renderer<'a> {
        let parameters = function.get("parameters").and_then(Value::as_object);
        let definitions = ["$defs", "definitions"].map(|key| parameters?.get(key)?.as_object());
        Renderer { definitions, dialect, budget, doubtful: false }
    }

    /// The type of a function's parameters; `None` if there are none.
    pub(super) fn parameters(&mut self, schema: &Object) -> Option<String> {
        let heading = self.heading(schema);
        match (self.dialect, some_text(schema, "description")) {
            (Dialect::Responses, Some(_)) => {
                let object = self.object(schema, &[], 0)?;
                // Seen with comments in the object, and without a title.
                self.doubtful |= !object.contains('\n') || some_text(schema, "title").is_some();
                Some(lines(&heading) + &object)
            }
            _ => self.object(schema, &heading, 0),
        }
    }

    /// Comments of a schema: title and description, with an empty comment between them.
    fn heading(&mut self, schema: &Object) -> Vec<String> {
        let titles = self.dialect != Dialect::ChatEarly;
        let mut lines = some_text(schema, "title").filter(|_| titles).map(comment).unwrap_or_default();
        if let Some(description) = some_text(schema, "description") {
            if !lines.is_empty() {
                lines.push("//".to_owned());
            }
            lines.extend(comment(description));
        }
        self.budget.text(lines.iter().map(String::len).sum());
        lines
    }

    /// Follows `$ref`; members beside it override the target's.
    fn resolve<'s>(&mut self, schema: &'s Value) -> Cow<'s, Object>
    where
        'a: 's,
    {
        let Value::Object(members) = schema else { return Cow::Owned(Object::new()) };
        let mut schema = Cow::Borrowed(members);
        for _ in 0..REFERENCES_MAX {
            let Some(reference) = schema.get("$ref") else { break };
            let name = reference.as_str().and_then(|path| path.rsplit('/').next()).unwrap_or("");
            let found = self.definitions.iter().flatten().find_map(|all| all.get(name)?.as_object());
            self.doubtful |= found.is_none() || schema.len() > 1;
            schema = match found {
                Some(target) if schema.len() == 1 => Cow::Borrowed(target),
                _ => Cow::Owned(self.merged(found, &schema)),
            };
        }
        schema
    }

    /// The target of a reference, overridden by what stands beside the reference.
    fn merged(&mut self, target: Option<&Object>, beside: &Object) -> Object {
        let mut merged = target.map(|target| self.copy(target)).unwrap_or_default();
        merged.extend(self.copy(beside).into_iter().filter(|(key, _)| key != "$ref"));
        merged
    }

    /// A copy, paid for; empty if there is nothing left to pay with.
    fn copy(&mut self, schema: &Object) -> Object {
        if self.budget.copy(schema) { schema.clone() } else { Object::new() }
    }

    /// The type for a schema, without what it says of itself.
    fn type_of(&mut self, schema: &Object, depth: usize) -> String {
        self.budget.add_type();
        if depth > DEPTH_MAX || self.budget.is_spent() {
            self.doubtful = true;
            return "any".to_owned();
        }
        if let Some(value) = schema.get("const") {
            return self.literal(value);
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return values.iter().map(|value| self.literal(value)).collect::<Vec<_>>().join(" | ");
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(types) = schema.get(key).and_then(Value::as_array) {
                let variants = types.iter().map(|one| {
                    let one = self.resolve(one);
                    self.variant(&one, depth)
                });
                let variants: Vec<_> = variants.collect();
                return self.union(&variants);
            }
        }
        if let Some([first, ..]) = schema.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
            let first = self.resolve(first);
            return self.type_of(&first, depth + 1);
        }
        match schema.get("type") {
            Some(Value::Array(types)) => self.list_of_types(schema, types, depth),
            Some(Value::String(name)) => self.named_type(schema, name, depth),
            _ => self.named_type(schema, "", depth),
        }
    }

    fn named_type(&mut self, schema: &Object, name: &str, depth: usize) -> String {
        match name {
            "string" | "boolean" | "null" => name.to_owned(),
            "number" | "integer" => "number".to_owned(),
            "array" => self.array(schema, depth),
            _ if name == "object" || schema.contains_key("properties") => {
                self.object(schema, &[], depth + 1).unwrap_or_else(|| "object".to_owned())
            }
            _ => "any".to_owned(),
        }
    }

    fn literal(&mut self, value: &Value) -> String {
        let text = to_string(value, SPACED);
        self.budget.text(text.len());
        text
    }

    fn array(&mut self, schema: &Object, depth: usize) -> String {
        let Some(items) = some(schema, "items") else { return "any[]".to_owned() };
        let items = self.resolve(items);
        let heading = lines(&self.heading(&items));
        let item = self.type_of(&items, depth + 1);
        if heading.is_empty() && !item.contains('\n') {
            return item + "[]";
        }
        self.doubtful = true;
        format!("Array<\n{heading}{item}\n>")
    }

    /// Each type is a variant with everything else that the schema says.
    fn list_of_types(&mut self, schema: &Object, types: &[Value], depth: usize) -> String {
        let hoisted = self.dialect == Dialect::Responses;
        let beside = |(key, value): (&String, &Value)| {
            let kept = key != "type" && !(hoisted && matches!(key.as_str(), "title" | "description"));
            kept.then(|| (key.clone(), value.clone()))
        };
        let beside: Object = schema.iter().filter_map(beside).collect();
        let variants = types.iter().map(|one| {
            let mut schema = self.copy(&beside);
            schema.insert("type".to_owned(), Value::from(one.as_str().unwrap_or("")));
            self.variant(&schema, depth)
        });
        let variants: Vec<_> = variants.collect();
        self.union(&variants)
    }

    /// One of several types, with its comments.
    fn variant(&mut self, schema: &Object, depth: usize) -> (Vec<String>, String) {
        let mut heading = self.heading(schema);
        if let Some(format) = schema.get("format") {
            heading.push(format!("// Format: {}", self.literal(format)));
        }
        (heading, self.type_of(schema, depth + 1))
    }

    /// One of several types: on one line, or on many if one of them has comments.
    fn union(&mut self, variants: &[(Vec<String>, String)]) -> String {
        if variants.iter().all(|(heading, text)| heading.is_empty() && !text.contains('\n')) {
            return variants.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" | ");
        }
        self.doubtful = true;
        let line = |(heading, text): &(Vec<String>, String)| format!("{} | {text}\n", lines(heading));
        format!("\n{}", variants.iter().map(line).collect::<String>())
    }

    /// An object type; `None` if it has no members. On one line if there are no comments.
    fn object(&mut self, schema: &Object, heading: &[String], depth: usize) -> Option<String> {
        let mut members = self.members(schema, depth);
        if let Some(more) = some(schema, "additionalProperties") {
            let mut value = "any".to_owned();
            if more.is_object() {
                let more = self.resolve(more);
                value = self.type_of(&more, depth + 1);
            }
            let text = format!("[k: string]: {value}");
            members.push(ObjectMember { above: vec![], text, after: String::new() });
        }
        if members.is_empty() {
            return None;
        }
        let plain = |member: &ObjectMember| {
            member.above.is_empty() && member.after.is_empty() && !member.text.contains('\n')
        };
        let early = self.dialect == Dialect::ChatEarly;
        if !early && heading.is_empty() && members.iter().all(plain) {
            let texts: Vec<_> = members.into_iter().map(|member| member.text).collect();
            return Some(format!("{{ {} }}", texts.join(", ")));
        }
        // No recording has a property that is an object with comments.
        self.doubtful |= depth > 0;
        let mut text = String::from("{\n") + &lines(heading);
        for member in members {
            text += &format!("{}{},{}\n", lines(&member.above), member.text, member.after);
        }
        Some(text + "}")
    }

    fn members(&mut self, schema: &Object, depth: usize) -> Vec<ObjectMember> {
        let list = |key| schema.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let required: HashSet<_> = list("required").iter().filter_map(Value::as_str).collect();
        let empty = Object::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let mut members = Vec::new();
        for (key, value) in properties {
            if self.budget.is_spent() {
                break;
            }
            let value = self.resolve(value);
            let mark = if required.contains(key.as_str()) { "" } else { "?" };
            let after = self.beside(&value);
            let value_type = self.type_of(&value, depth);
            let space = if value_type.starts_with('\n') { "" } else { " " };
            self.budget.text(key.len());
            members.push(ObjectMember {
                above: self.heading(&value),
                text: format!("{key}{mark}:{space}{value_type}"),
                after,
            });
        }
        members
    }

    /// The comment behind a member: its default and its bounds, in the order of their keys.
    fn beside(&mut self, schema: &Object) -> String {
        let early = self.dialect == Dialect::ChatEarly;
        let is_float = schema.get("type").is_some_and(|name| name == "number");
        let mut said = Vec::new();
        for (key, value) in schema {
            let value = match value.as_f64() {
                Some(bound) if is_float && BOUNDS.contains(&key.as_str()) => &Value::from(bound),
                _ => value,
            };
            if key == "default" || !early && BOUNDS.contains(&key.as_str()) && value.is_number() {
                said.push(format!("{key}: {}", self.literal(value)));
            }
        }
        // Two schemas of several bounds do not fit; what parts them, or their order, is not known.
        self.doubtful |= said.len() > 1;
        if said.is_empty() { String::new() } else { format!(" // {}", said.join(", ")) }
    }
}
