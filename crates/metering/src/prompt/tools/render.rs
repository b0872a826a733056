//! The tools text as a whole.

use serde_json::Value;

use super::budget::RenderBudget;
use super::dialect::Dialect;
use super::proven_tools;
use super::text::{comment, lines, some_text};
use super::types::Renderer;
use crate::prompt::object::Object;

/// Tools as text.
#[derive(Debug, Default)]
pub(crate) struct Rendered {
    pub(crate) text: String,
    /// A schema has a shape whose rendering is not proven.
    pub(crate) doubtful: bool,
    /// The schemas unfold without end.
    pub(crate) endless: bool,
}

/// The tools text for these functions, each an object with `name`, `description` and `parameters`.
pub(crate) fn render(functions: &[&Object], dialect: Dialect) -> Rendered {
    let mut text = String::from("# Tools\n\n## functions\n\nnamespace functions {\n\n");
    let (mut doubtful, mut budget) = (false, RenderBudget::default());
    for function in functions {
        let mut renderer = Renderer::new(function, dialect, budget);
        text.push_str(&self::function(function, &mut renderer));
        doubtful |= renderer.doubtful || !proven_tools::function(function);
        budget = renderer.budget;
    }
    text.push_str("} // namespace functions");
    Rendered { text, doubtful, endless: budget.is_spent() }
}

fn function(function: &Object, renderer: &mut Renderer<'_>) -> String {
    let empty = Object::new();
    let parameters = function.get("parameters").and_then(Value::as_object).unwrap_or(&empty);
    let arguments = match renderer.parameters(parameters) {
        Some(arguments) => format!("_: {arguments}"),
        None => String::new(),
    };
    let description = some_text(function, "description").map(comment).unwrap_or_default();
    let name = function.get("name").and_then(Value::as_str).unwrap_or("");
    format!("{}type {name} = ({arguments}) => any;\n\n", lines(&description))
}

/// It says what it does: the bill of gpt-5 is one token less if the first one does not.
pub(crate) fn is_described(function: &Object) -> bool {
    some_text(function, "description").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The text of one function in the namespace, and whether it is proven.
    fn rendered(function: &Value, dialect: Dialect) -> (String, bool) {
        let rendered = render(&[function.as_object().unwrap()], dialect);
        let body =
            rendered.text.strip_prefix("# Tools\n\n## functions\n\nnamespace functions {\n\n").unwrap();
        (body.strip_suffix("\n\n} // namespace functions").unwrap().to_owned(), !rendered.doubtful)
    }

    /// The type of `x`, the only property, and whether it is proven.
    fn type_of(schema: Value) -> (String, bool) {
        let function = json!({"name": "f", "parameters": {"type": "object", "properties": {"x": schema}}});
        let (text, proven) = rendered(&function, Dialect::Chat);
        let start = text.find("x?:").unwrap();
        (text[start..].trim_end_matches("}) => any;").trim_end().to_owned(), proven)
    }

    #[test]
    fn without_comments_on_one_line() {
        let text = |function| rendered(&function, Dialect::Chat);
        assert_eq!(text(json!({"name": "now"})), ("type now = () => any;".to_owned(), true));
        let weather = json!({"name": "weather", "parameters": {"type": "object", "required": ["city"], "properties": {
            "city": {"type": "string"}, "days": {"type": "integer"},
            "where": {"type": "object", "properties": {"lat": {"type": "number"}}},
        }, "additionalProperties": false}});
        let expected =
            "type weather = (_: { city: string, days?: number, where?: { lat?: number } }) => any;";
        assert_eq!(text(weather), (expected.to_owned(), true));
    }

    #[test]
    fn comments_and_defaults() {
        let function = json!({"name": "find", "description": "  Finds.\n\n  Well.", "parameters": {
            "type": "object", "title": "Find", "properties": {
                "q": {"type": "string", "title": "Q", "description": "What\n to find"},
                "n": {"type": "boolean", "default": null},
                "s": {"type": "string", "default": "é"},
            },
        }});
        let expected = "// Finds.\n//\n// Well.\ntype find = (_: {\n// Find\n// Q\n//\n// What\n// to find\nq?: string,\nn?: boolean, // default: null\ns?: string, // default: \"é\"\n}) => any;";
        assert_eq!(rendered(&function, Dialect::Chat), (expected.to_owned(), true));
        let early = expected.replace("// Find\n// Q\n//\n", "");
        assert_eq!(rendered(&function, Dialect::ChatEarly).0, early);
        let plain =
            json!({"name": "f", "parameters": {"properties": {"x": {"type": "string", "title": "X"}}}});
        assert_eq!(rendered(&plain, Dialect::ChatEarly).0, "type f = (_: {\nx?: string,\n}) => any;");
    }

    #[test]
    fn bounds_stand_where_a_default_does() {
        for (schema, expected) in [
            (json!({"type": "integer", "minimum": 1}), "x?: number, // minimum: 1"),
            (json!({"type": "number", "exclusiveMinimum": 0}), "x?: number, // exclusiveMinimum: 0.0"),
            (json!({"type": "number", "minimum": 0.5}), "x?: number, // minimum: 0.5"),
            (
                json!({"type": "number", "minimum": 0, "maximum": 100}),
                "x?: number, // minimum: 0.0, maximum: 100.0",
            ),
            (json!({"type": "string", "minLength": 1}), "x?: string, // minLength: 1"),
            (json!({"type": "string", "format": "date"}), "x?: string"),
            (json!({"type": "integer", "minimum": "1"}), "x?: number"),
        ] {
            assert_eq!(type_of(schema).0.trim_end_matches(" "), expected);
        }
    }

    #[test]
    fn lists_of_objects_with_comments_have_lines_of_their_own() {
        let steps = json!({"type": "array", "items": {"type": "object", "title": "Step", "properties": {
            "n": {"type": "integer", "description": "Its number"}}}});
        let expected = "x?: Array<\n// Step\n{\n// Its number\nn?: number,\n}\n>,";
        assert_eq!(type_of(steps), (expected.to_owned(), false));
        let plain =
            json!({"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}});
        assert_eq!(type_of(plain).0, "x?: { n?: number }[]");
    }

    #[test]
    fn unions() {
        let inline = json!({"anyOf": [{"type": "string"}, {"type": "null"}], "title": "X"});
        assert_eq!(type_of(inline), ("x?: string | null,".to_owned(), false));
        let lines = json!({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "title": "X"});
        assert_eq!(type_of(lines).0, "x?:\n// Format: \"date\"\n | string\n | null\n,");
        let list = json!({"type": ["string", "null"], "description": "D"});
        assert_eq!(type_of(list.clone()).0, "x?:\n// D\n | string\n// D\n | null\n,");
        let function = json!({"name": "f", "parameters": {"properties": {"x": list}}});
        let (text, _) = rendered(&function, Dialect::Responses);
        assert_eq!(text, "type f = (_: {\n// D\nx?: string | null,\n}) => any;");
    }

    #[test]
    fn references_are_inlined() {
        let function = json!({"name": "f", "parameters": {"properties": {"a": {"$ref": "#/$defs/A"}, "c": {"type": "array"}},
            "$defs": {"A": {"type": "object", "properties": {"x": {"type": "boolean"}}}}}});
        let (text, _) = rendered(&function, Dialect::Chat);
        assert_eq!(text, "type f = (_: { a?: { x?: boolean }, c?: any[] }) => any;");
    }

    #[test]
    fn what_was_not_recorded_is_not_proven() {
        for schema in [
            json!({"type": "string", "format": "date"}),
            json!({"type": "string", "pattern": "a+"}),
            json!({"type": "integer", "minimum": 1, "maximum": 2}),
            json!({"type": "integer", "minimum": 1, "default": 2}),
            json!({"type": "string", "minLength": 1}),
            json!({"type": "string", "enum": ["a"], "default": "a"}),
            json!({"enum": [1]}),
            json!({"const": "a"}),
            json!({"$ref": "#/$defs/None"}),
            json!({"type": ["string", "null"]}),
            json!({"type": "array"}),
            json!({"type": "array", "items": {"type": "array", "items": {"type": "string"}}}),
            json!({"type": "array", "items": {"type": "string", "enum": ["a"]}}),
            json!({"type": "object"}),
            json!({"type": "object", "properties": {"a-b": {"type": "string"}}}),
            json!({"type": "object", "properties": {"a": {"type": "string", "title": "A"}}}),
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": true}),
            json!({"type": "string", "default": ["a"]}),
            json!({"type": "string", "title": 1}),
            json!("string"),
        ] {
            assert!(!type_of(schema.clone()).1, "{schema}");
        }
        for schema in [
            json!({"type": "string", "enum": ["a", "b"], "description": "c"}),
            json!({"type": "array", "items": {"type": "string"}, "default": null}),
            json!({"type": "number", "default": 1, "title": "", "description": null}),
            json!({"type": "integer", "minimum": 1}),
        ] {
            assert!(type_of(schema.clone()).1, "{schema}");
        }
        for function in [
            json!({"name": "f", "x": 1}),
            json!({"description": "d"}),
            json!({"name": "f", "parameters": []}),
        ] {
            assert!(!rendered(&function, Dialect::Chat).1, "{function}");
        }
    }

    #[test]
    fn a_schema_without_end_ends() {
        let properties: Object = (0..20).map(|n| (format!("p{n}"), json!({"$ref": "#/$defs/A"}))).collect();
        let function = json!({"name": "f", "parameters": {"$ref": "#/$defs/A", "properties": properties.clone(),
            "$defs": {"A": {"type": "object", "properties": properties}}}});
        assert!(render(&[function.as_object().unwrap()], Dialect::Chat).endless);
    }

    #[test]
    fn a_schema_that_repeats_a_long_text_ends() {
        let long = "x".repeat(200_000);
        let types: Vec<_> = (0..20_000).map(|_| "string").collect();
        let repeated =
            json!({"name": "f", "parameters": {"properties": {"x": {"type": types, "description": long}}}});
        let properties: Object =
            (0..20_000).map(|n| (format!("p{n}"), json!({"$ref": "#/$defs/A", "title": "T"}))).collect();
        let copied = json!({"name": "f", "parameters": {"properties": properties,
            "$defs": {"A": {"const": 1, "properties": {"x": {"description": long}}}}}});
        for function in [repeated, copied] {
            assert!(render(&[function.as_object().unwrap()], Dialect::Chat).endless);
        }
    }

    #[test]
    fn a_wide_schema_takes_time_by_its_size() {
        let keys: Vec<_> = (0..40_000).map(|n| format!("p{n}")).collect();
        let properties: Object = keys.iter().map(|key| (key.clone(), json!({"type": "null"}))).collect();
        let function = json!({"name": "f", "parameters": {"properties": properties, "required": keys}});
        let rendered = render(&[function.as_object().unwrap()], Dialect::Chat);
        assert!(!rendered.endless && !rendered.text.contains('?'));
    }
}
