//! Forged and malformed identity: who each set of headers names, and that none of it fails a call.

use super::{Rig, bearer, line, lines};

const SUB: &str = "x-apim-subscription-id";
const NOBODY: (&str, &str, bool) = ("unattributed", "none", false);

/// A set of headers, and what comes of it: status, then id, source and conflict.
struct Case {
    what: &'static str,
    fields: Vec<u8>,
    status: u16,
    expected: (String, &'static str, bool),
}

fn case(what: &'static str, fields: Vec<u8>, expected: (&str, &'static str, bool)) -> Case {
    Case { what, fields, status: 200, expected: (expected.0.to_owned(), expected.1, expected.2) }
}

/// No HTTP: refused by the parser, so there is nobody to charge and no event.
fn refused(what: &'static str, fields: &[u8]) -> Case {
    Case { what, fields: fields.to_vec(), status: 400, expected: Default::default() }
}

fn sub(value: impl AsRef<[u8]>) -> Vec<u8> {
    line(SUB, value)
}

fn token(claims: &str) -> Vec<u8> {
    line("authorization", bearer(claims))
}

/// A token beside a key, which is the last source: it must name nobody if the token is malformed.
fn token_and_key(authorization: &str) -> Vec<u8> {
    [line("authorization", authorization), line("api-key", "k")].concat()
}

fn names(key: &str) -> Vec<Case> {
    let by_sub = |id| (id, "apim_subscription", false);
    let (n128, n129, n8000) = ("n".repeat(128), "n".repeat(129), "n".repeat(8000));
    let and_key = |fields: Vec<u8>| [fields, line("api-key", "k")].concat();
    vec![
        case("nothing", vec![], NOBODY),
        case("a subscription", sub("team-a"), by_sub("team-a")),
        case("an empty one", sub(""), NOBODY),
        case("an empty one and a key", and_key(sub("")), (key, "api_key", false)),
        case("white space around it", sub("  team-a \t"), by_sub("team-a")),
        case("only white space", sub("   "), NOBODY),
        case("white space in it", sub("team a"), by_sub("team a")),
        case("a list, as a hop joins two fields", and_key(sub("a, b")), NOBODY),
        case("a comma in it", and_key(sub("a,b")), NOBODY),
        case("a semicolon in it", sub("a;b"), by_sub("a;b")),
        case("two of them", and_key([sub("a"), sub("b")].concat()), NOBODY),
        case("the same twice", and_key([sub("a"), sub("a")].concat()), NOBODY),
        case("one and an empty one", and_key([sub("a"), sub("")].concat()), NOBODY),
        case("in two cases", and_key([sub("a"), line("X-APIM-Subscription-ID", "b")].concat()), NOBODY),
        case("in capitals", line("X-APIM-SUBSCRIPTION-ID", "team-a"), by_sub("team-a")),
        case("as long as it may be", sub(&n128), by_sub(&n128)),
        case("too long by one", and_key(sub(&n129)), NOBODY),
        case("much too long", and_key(sub(&n8000)), NOBODY),
        case("Latin-1", and_key(sub(b"caf\xe9")), NOBODY),
        case("UTF-8", and_key(sub("caf\u{e9}")), NOBODY),
        case("no text at all", and_key(sub(b"\xff\xfe")), NOBODY),
        case("a tab in it", and_key(sub("a\tb")), NOBODY),
        case("with underscores", line("x_apim_subscription_id", "team-a"), NOBODY),
        case("a longer name", line("x-apim-subscription-id2", "team-a"), NOBODY),
        case(
            "of other makers",
            lines(&[("x-caller-id", "a"), ("x-forwarded-user", "a"), ("x-consumer", "a")]),
            NOBODY,
        ),
        case("JSON", sub(r#"{"id":"a"}"#), by_sub(r#"{"id":"a"}"#)),
        case("a script", sub("<script>'\";--"), by_sub("<script>'\";--")),
        refused("a line break in it", b"x-apim-subscription-id: a\r\n b\r\n"),
        refused("a bare carriage return", b"x-apim-subscription-id: a\rb\r\n"),
        refused("a NUL", b"x-apim-subscription-id: a\0b\r\n"),
        refused("a delete character", b"x-apim-subscription-id: a\x7fb\r\n"),
        refused("a space before the colon", b"x-apim-subscription-id : a\r\n"),
        case(
            "Connection names it",
            [line("connection", "x-apim-subscription-id"), sub("team-a")].concat(),
            by_sub("team-a"),
        ),
        case(
            "Connection names all",
            [
                lines(&[("connection", "keep-alive, authorization, X-Team"), ("x-team", "blue")]),
                token(r#"{"azp":"blue"}"#),
            ]
            .concat(),
            ("blue", "header", false),
        ),
        case("two sources that agree", lines(&[(SUB, "blue"), ("x-team", "blue")]), by_sub("blue")),
        case(
            "two that do not",
            lines(&[(SUB, "blue"), ("x-team", "red")]),
            ("blue", "apim_subscription", true),
        ),
        case(
            "the second malformed",
            lines(&[(SUB, "blue"), ("x-team", "a"), ("x-team", "b")]),
            ("blue", "apim_subscription", true),
        ),
        case("only the second", lines(&[("x-team", "red")]), ("red", "header", false)),
        case(
            "only the second, malformed",
            and_key([line("x-team", &n129), token(r#"{"azp":"a"}"#)].concat()),
            NOBODY,
        ),
        case(
            "the gateway's id in a header",
            lines(&[("x-team", "GATEWAY-APP"), ("api-key", "k")]),
            (key, "api_key", false),
        ),
        case("a key", line("api-key", "k"), (key, "api_key", false)),
        case("a key beside a name", and_key(sub("team-a")), by_sub("team-a")),
        case("an empty key", line("api-key", ""), NOBODY),
        case("two keys", lines(&[("api-key", "k"), ("api-key", "k")]), NOBODY),
        case("a key that is too long", line("api-key", &n129), NOBODY),
        case("a key that is no text", line("api-key", "caf\u{e9}"), NOBODY),
        case("a key by its other name", line("x-api-key", "k"), (key, "api_key", false)),
        case(
            "one key by both names",
            lines(&[("api-key", "k"), ("x-api-key", "k")]),
            (key, "api_key", false),
        ),
        case("two keys by two names", lines(&[("api-key", "k"), ("x-api-key", "l")]), NOBODY),
        case("a key with another header's name", line("x-key", "k"), NOBODY),
    ]
}

fn tokens(key: &str) -> Vec<Case> {
    let by_app = |id| (id, "entra_app", false);
    let by_key = (key, "api_key", false);
    let long = |id: &str| format!(r#"{{"azp":"{}"}}"#, id.repeat(129));
    let nested = ("[".repeat(4000), "]".repeat(4000));
    let (deep, beside) = (
        format!(r#"{{"azp":{}{}}}"#, nested.0, nested.1),
        format!(r#"{{"azp":"app","x":{}{}}}"#, nested.0, nested.1),
    );
    let huge = format!(r#"{{"azp":"a","x":"{}"}}"#, "x".repeat(16_000));
    let good = bearer(r#"{"azp":"app"}"#);
    let parts = |claims: &str| bearer(claims).trim_start_matches("Bearer ").to_owned();
    let malformed = |what, claims: &str| case(what, token_and_key(&bearer(claims)), NOBODY);
    let opaque = |what, value: &str| case(what, token_and_key(value), by_key);
    vec![
        case("version 2", token(r#"{"azp":"v2","appid":"v1"}"#), by_app("v2")),
        case("version 1", token(r#"{"appid":"v1"}"#), by_app("v1")),
        case("a person's", token(r#"{"azp":"app","tid":"t","oid":"o","scp":"s"}"#), by_app("app")),
        case(
            "a person's without an application",
            token(r#"{"tid":"t","oid":"o"}"#),
            ("t/o", "entra_user", false),
        ),
        case("a person's without a tenant", token_and_key(&bearer(r#"{"oid":"o"}"#)), by_key),
        case(
            "the gateway's own",
            token_and_key(&bearer(r#"{"azp":"gateway-app","tid":"t","oid":"o"}"#)),
            by_key,
        ),
        case(
            "that agrees with a header",
            [sub("app"), line("authorization", &good)].concat(),
            ("app", "apim_subscription", false),
        ),
        case(
            "that does not",
            [sub("team-a"), line("authorization", &good)].concat(),
            ("team-a", "apim_subscription", true),
        ),
        case("expired", token(r#"{"azp":"app","exp":1,"nbf":0}"#), by_app("app")),
        case(
            "alg none, as if signed",
            line(
                "authorization",
                format!("Bearer eyJhbGciOiJub25lIn0.{}.c2ln", good.split('.').nth(1).unwrap()),
            ),
            by_app("app"),
        ),
        case(
            "another case of the scheme",
            line("authorization", format!("bEARER {}", parts(r#"{"azp":"app"}"#))),
            by_app("app"),
        ),
        opaque("empty", "Bearer "),
        opaque("no scheme", "sk-12345"),
        opaque("another scheme", "Basic dXNlcjpwdw=="),
        opaque("two schemes", &format!("Bearer {good}")),
        opaque("a service's key", "Bearer sk-proj-abc.def"),
        opaque("two parts", "Bearer e30.e30"),
        opaque("four parts", "Bearer e30.e30.c2ln.c2ln"),
        opaque("no base64", "Bearer e30.!!!.c2ln"),
        opaque("no JSON", "Bearer e30.aGVsbG8.c2ln"),
        opaque("no object", "Bearer e30.WyJhenAiXQ.c2ln"),
        opaque("null claims", &bearer(r#"{"azp":null,"appid":null,"tid":null}"#)),
        opaque("an empty claim", &bearer(r#"{"azp":""}"#)),
        malformed("JSON that breaks off", r#"{"azp":"app""#),
        malformed("deep JSON for a name", &deep),
        case("deep JSON beside it", token(&beside), by_app("app")),
        malformed("huge", &huge),
        case("white space around a name", token(r#"{"azp":" app "}"#), by_app("app")),
        case("two of them in one field", token_and_key(&format!("{good}, {good}")), NOBODY),
        malformed("a number for a name", r#"{"azp":7}"#),
        malformed("an object for a name", r#"{"tid":{"azp":"a"}}"#),
        malformed("the same claim twice", r#"{"azp":"a","azp":"b"}"#),
        malformed("a name that is too long", &long("n")),
        malformed("a name beyond ASCII", r#"{"azp":"caf\u00e9"}"#),
        malformed("a name with a line break", r#"{"azp":"a\r\nb"}"#),
        malformed("a NUL in a name", r#"{"azp":"a\u0000b"}"#),
        case("unsigned", token_and_key(&format!("Bearer e30.{}.", good.split('.').nth(1).unwrap())), NOBODY),
        case(
            "two Authorization fields",
            [line("authorization", &good), token_and_key(&good)].concat(),
            NOBODY,
        ),
        case(
            "in another field",
            [line("x-authorization", &good), line("proxy-authorization", &good)].concat(),
            NOBODY,
        ),
        case("beyond Latin-1", token_and_key("Bearer caf\u{e9}.e30.x"), NOBODY),
    ]
}

/// Runs each case under trust `none`, where headers are all there is.
fn check(cases: impl Fn(&str) -> Vec<Case>) {
    let rig = Rig::start_with(
        &[
            "--caller-sources",
            "apim-subscription,header:x-team,entra-app,entra-user,api-key",
            "--caller-user-ids",
            "plain",
            "--gateway-app-ids",
            "gateway-app",
        ],
        &[("TOKENWEIR_CALLER_HASH_KEY", "test")],
    );
    // printf k | openssl dgst -sha256 -hmac test
    let cases = cases("key-1a1cc63304f3");
    for (n, case) in cases.iter().enumerate() {
        assert_eq!(rig.call(&format!("case-{n}"), &case.fields), case.status, "{}", case.what);
    }
    let left = rig.stop();
    for (n, case) in cases.iter().enumerate() {
        let Some(event) = left.events.get(&format!("case-{n}")) else {
            assert_eq!(case.status, 400, "{}: no event", case.what);
            continue;
        };
        let caller = &event["caller"];
        let conflict = caller["conflict"].as_bool().unwrap_or(false);
        let found = (caller["id"].as_str().unwrap(), caller["id_source"].as_str().unwrap(), conflict);
        assert_eq!(found, (case.expected.0.as_str(), case.expected.1, case.expected.2), "{}", case.what);
        assert_eq!(
            (&caller["trust"], &event["tokens"]["input"]),
            (&"none".into(), &8.into()),
            "{}",
            case.what
        );
    }
    let answered = cases.iter().filter(|case| case.status == 200).count();
    assert_eq!((left.events.len(), left.arrived.len()), (answered, answered), "one call, one event");
    for (_, fields) in &left.arrived {
        let passed = fields.iter().find(|(name, _)| {
            name.starts_with("x-apim-") && name != "x-apim-subscription-id2" || name == "x-team"
        });
        assert_eq!(passed, None, "what names the caller ends here");
    }
    println!("{} header sets", cases.len());
}

#[test]
fn case_80_values_that_are_no_names_are_nobodys() {
    check(names);
}

#[test]
fn case_81_tokens_of_every_wrong_kind_name_nobody_and_fail_nothing() {
    check(tokens);
}

#[test]
fn an_identity_in_a_trailer_is_none() {
    let rig = Rig::start(&[]);
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: gw\r\nx-ms-client-request-id: trailer\r\nTrailer: {SUB}\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n{SUB}: team-a\r\n\r\n",
        super::PATH,
        super::BODY.len(),
        super::BODY
    );
    let mut connection = super::connect(rig.sidecar.addr);
    std::io::Write::write_all(connection.get_mut(), request.as_bytes()).unwrap();
    let head = super::super::http::read_head(&mut connection).unwrap().unwrap();
    assert_eq!(head.status(), 200);
    drop(connection);
    let left = rig.stop();
    assert_eq!(left.events["trailer"]["caller"]["id"], "unattributed");
}
