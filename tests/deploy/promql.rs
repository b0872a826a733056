//! Reads expressions of PromQL, as far as rules and dashboards use it. What it does not know it refuses: promtool
//! knows all of the language, but neither our metrics nor what Grafana puts in.

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    Number(f64),
    Selector(Selector),
    Call { function: String, arguments: Vec<Expr> },
    Aggregate { operator: String, grouping: Grouping, arguments: Vec<Expr> },
    Binary { operator: String, matching: Matching, left: Box<Expr>, right: Box<Expr> },
}

/// Series of one name, now or over a range.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Selector {
    pub(super) name: String,
    pub(super) matchers: Vec<Matcher>,
    pub(super) range: Option<String>,
}

/// A condition on one label.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Matcher {
    pub(super) label: String,
    pub(super) operator: String,
    pub(super) value: String,
}

/// The labels that an aggregation keeps, or drops.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Grouping {
    #[default]
    All,
    By(Vec<String>),
    Without(Vec<String>),
}

/// How the series of two sides find each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Matching {
    pub(super) on: Option<Vec<String>>,
    /// Labels that the series of many sides take over from the one.
    pub(super) group_left: Option<Vec<String>>,
}

const AGGREGATIONS: [&str; 6] = ["avg", "count", "max", "min", "sum", "topk"];

/// Operators by how tightly they bind, the loosest first.
const OPERATORS: [&[&str]; 5] =
    [&["or"], &["and", "unless"], &["==", "!=", "<=", ">=", "<", ">"], &["+", "-"], &["*", "/"]];

impl Expr {
    /// Reads a whole expression.
    pub(super) fn read(text: &str) -> Result<Expr, String> {
        let mut reader = Reader { tokens: tokens(text)?, at: 0 };
        let expr = reader.binary(0)?;
        match reader.peek() {
            "" => Ok(expr),
            rest => Err(format!("`{rest}` is left of {text}")),
        }
    }

    /// Every selector within it.
    pub(super) fn selectors(&self) -> Vec<&Selector> {
        match self {
            Expr::Number(_) => Vec::new(),
            Expr::Selector(selector) => vec![selector],
            Expr::Call { arguments, .. } | Expr::Aggregate { arguments, .. } => {
                arguments.iter().flat_map(Expr::selectors).collect()
            }
            Expr::Binary { left, right, .. } => {
                left.selectors().into_iter().chain(right.selectors()).collect()
            }
        }
    }
}

/// Words, numbers, strings with their quotes, ranges with their brackets, and signs.
fn tokens(text: &str) -> Result<Vec<String>, String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.');
    let (mut tokens, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        let ends =
            |end: char| rest[1..].find(end).map(|at| at + 2).ok_or(format!("{end} is missing in {text}"));
        let length = match first {
            '"' => ends('"')?,
            '[' => ends(']')?,
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ if ["==", "!=", "<=", ">=", "=~", "!~"].iter().any(|sign| rest.starts_with(sign)) => 2,
            '(' | ')' | '{' | '}' | ',' | '=' | '<' | '>' | '+' | '-' | '*' | '/' => 1,
            _ => return Err(format!("`{first}` is not read, in {text}")),
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

struct Reader {
    tokens: Vec<String>,
    at: usize,
}

impl Reader {
    /// The next token; empty at the end.
    fn peek(&self) -> &str {
        self.tokens.get(self.at).map_or("", String::as_str)
    }

    fn next(&mut self) -> String {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned().unwrap_or_default()
    }

    /// Whether the next token is this one, which is then taken.
    fn takes(&mut self, token: &str) -> bool {
        let takes = self.peek() == token;
        self.at += usize::from(takes);
        takes
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.takes(token) { Ok(()) } else { Err(format!("{token} is expected, not `{}`", self.peek())) }
    }

    /// Operators that bind at least as tightly as this row of [`OPERATORS`].
    fn binary(&mut self, row: usize) -> Result<Expr, String> {
        let Some(operators) = OPERATORS.get(row) else { return self.unary() };
        let mut left = self.binary(row + 1)?;
        while operators.contains(&self.peek()) {
            let operator = self.next();
            let matching = self.matching()?;
            let right = Box::new(self.binary(row + 1)?);
            left = Expr::Binary { operator, matching, left: Box::new(left), right };
        }
        Ok(left)
    }

    fn matching(&mut self) -> Result<Matching, String> {
        let on = if self.takes("on") { Some(self.labels()?) } else { None };
        let group_left = if self.takes("group_left") { Some(self.labels()?) } else { None };
        Ok(Matching { on, group_left })
    }

    /// Names in parentheses.
    fn labels(&mut self) -> Result<Vec<String>, String> {
        self.expect("(")?;
        let mut labels = Vec::new();
        while !self.takes(")") {
            labels.push(self.next());
            if !self.takes(",") && self.peek() != ")" {
                return Err(format!("a label is expected, not `{}`", self.peek()));
            }
        }
        Ok(labels)
    }

    fn unary(&mut self) -> Result<Expr, String> {
        if self.takes("(") {
            let inner = self.binary(0)?;
            return self.expect(")").map(|()| inner);
        }
        let word = self.next();
        if let Ok(number) = word.parse() {
            return Ok(Expr::Number(number));
        }
        if !word.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(format!("`{word}` begins no expression"));
        }
        if AGGREGATIONS.contains(&word.as_str()) {
            return self.aggregate(word);
        }
        if word == "time" {
            self.expect("(")?;
            return self.expect(")").map(|()| Expr::Call { function: word, arguments: Vec::new() });
        }
        if self.peek() == "(" {
            return Ok(Expr::Call { function: word, arguments: self.arguments()? });
        }
        self.selector(word).map(Expr::Selector)
    }

    fn aggregate(&mut self, operator: String) -> Result<Expr, String> {
        let grouping = match self.peek() {
            "by" | "without" => {
                let keeps = self.next() == "by";
                let labels = self.labels()?;
                if keeps { Grouping::By(labels) } else { Grouping::Without(labels) }
            }
            _ => Grouping::All,
        };
        Ok(Expr::Aggregate { operator, grouping, arguments: self.arguments()? })
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, String> {
        self.expect("(")?;
        let mut arguments = vec![self.binary(0)?];
        while self.takes(",") {
            arguments.push(self.binary(0)?);
        }
        self.expect(")").map(|()| arguments)
    }

    fn selector(&mut self, name: String) -> Result<Selector, String> {
        let mut selector = Selector { name, ..Selector::default() };
        if self.takes("{") {
            while !self.takes("}") {
                let (label, operator, value) = (self.next(), self.next(), self.next());
                let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                let value = value.ok_or(format!("{label} has no text to match"))?.to_owned();
                selector.matchers.push(Matcher { label, operator, value });
                if !self.takes(",") && self.peek() != "}" {
                    return Err(format!("a matcher is expected, not `{}`", self.peek()));
                }
            }
        }
        if self.peek().starts_with('[') {
            selector.range = Some(self.next());
        }
        Ok(selector)
    }
}

#[test]
fn operators_bind_as_in_prometheus() {
    let read = |text: &str| format!("{:?}", Expr::read(text).expect(text));
    for (text, same) in [
        ("a + b * c > 1 and d or e", "((((a + (b * c)) > 1) and d) or e)"),
        ("a - b - c", "((a - b) - c)"),
        ("a - time() < 2", "(a - (time())) < 2"),
        ("up == 0 and on (job) up == 1", "(up == 0) and on (job) (up == 1)"),
        ("sum by (x) (rate(a{b=~\"c|d\",}[5m])) / 2", "(sum by (x) (rate(a{b=~\"c|d\"}[5m]))) / 2"),
    ] {
        assert_eq!(read(text), read(same), "{text}");
    }
    for wrong in [
        "a +",
        "sum(a",
        "a{b}",
        "a[5m",
        "a b",
        "a{b=\"c\" d=\"e\"}",
        "rate(a[5m:1m]) ^ 2",
        "f()",
        "time(1)",
        "",
    ] {
        assert!(Expr::read(wrong).is_err(), "{wrong}");
    }
}
