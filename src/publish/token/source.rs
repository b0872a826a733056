//! Where a token of Entra ID comes from, and how it is asked for.
//!
//! | source | asked | protocol |
//! |---|---|---|
//! | workload identity (AKS) | Entra ID, with the token that Kubernetes keeps in a file | "Microsoft identity platform and the OAuth 2.0 client credentials flow", third case |
//! | App Service, Container Apps | `IDENTITY_ENDPOINT`, with `IDENTITY_HEADER` | "How to use managed identities for App Service", REST, 2019-08-01 |
//! | virtual machines | the instance metadata service | "How to use managed identities on a VM to acquire an access token", 2018-02-01 |

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::super::secret::{self, Secret};

/// A whole request, name look-up and body included. With the pause after a failure it is less than
/// the ten seconds in which publishing goes on after the endpoint is well again.
const REQUEST_MAX: Duration = Duration::from_secs(5);

/// A response holds one token of some KiB.
const ANSWER_BYTES_MAX: u64 = 256 << 10;

/// No error code of the endpoints is longer.
const CODE_CHARS_MAX: usize = 80;

/// Where Entra ID is asked, unless `AZURE_AUTHORITY_HOST` says otherwise.
const AUTHORITY: &str = "https://login.microsoftonline.com";

/// The instance metadata service of Azure.
const IMDS: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

/// Where tokens of Entra ID come from.
#[derive(Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// A token of Kubernetes, exchanged for one of Entra ID.
    WorkloadIdentity {
        /// The file that Kubernetes keeps up to date; read at each request.
        file: PathBuf,
        /// Where Entra ID is asked: scheme and host.
        authority: String,
        /// The tenant.
        tenant: String,
        /// The application.
        client: String,
    },
    /// The endpoint of App Service and Container Apps.
    AppService {
        /// Its URL.
        endpoint: String,
        /// The proof that the request comes from inside.
        header: Secret,
        /// The identity, if there are several.
        client: Option<String>,
    },
    /// The instance metadata service of a virtual machine.
    Imds {
        /// The identity, if there are several.
        client: Option<String>,
    },
}

/// A token, and for how long it holds.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Fetched {
    pub(super) token: String,
    pub(super) life: Duration,
}

impl TokenSource {
    /// Picks the source that the environment describes, in the order of the variants.
    ///
    /// # Errors
    /// If a source is described in part, or an address is not allowed; the text names the variables.
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> Result<TokenSource, String> {
        let get = |name: &str| env(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let client = get("AZURE_CLIENT_ID");
        if get("AZURE_FEDERATED_TOKEN_FILE").is_some() || get("AZURE_TENANT_ID").is_some() {
            let names = ["AZURE_FEDERATED_TOKEN_FILE", "AZURE_TENANT_ID", "AZURE_CLIENT_ID"];
            let all = all_of(names, get).map_err(|missing| {
                format!("workload identity needs {}; not set: {missing}", names.join(", "))
            })?;
            let [file, tenant, client] = all;
            let authority = get("AZURE_AUTHORITY_HOST").unwrap_or_else(|| AUTHORITY.to_owned());
            let authority = authority.trim_end_matches('/').to_owned();
            allowed("AZURE_AUTHORITY_HOST", &authority, IpAddr::is_loopback)?;
            let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            if !tenant.chars().all(plain) {
                return Err(format!("AZURE_TENANT_ID={tenant:?} is no tenant; allowed: a GUID or a domain"));
            }
            return Ok(TokenSource::WorkloadIdentity {
                file: PathBuf::from(file),
                authority,
                tenant,
                client,
            });
        }
        if get("IDENTITY_ENDPOINT").is_some() || get("IDENTITY_HEADER").is_some() {
            let names = ["IDENTITY_ENDPOINT", "IDENTITY_HEADER"];
            let [endpoint, header] = all_of(names, get).map_err(|missing| {
                format!("the managed identity of App Service needs {}; not set: {missing}", names.join(", "))
            })?;
            // App Service uses addresses of the link, 169.254.x.y, which no router passes on.
            allowed("IDENTITY_ENDPOINT", &endpoint, |ip| {
                ip.is_loopback() || matches!(ip, IpAddr::V4(ip) if ip.is_link_local())
            })?;
            return Ok(TokenSource::AppService { endpoint, header: Secret::new(header), client });
        }
        Ok(TokenSource::Imds { client })
    }

    /// Asks for a token for a scope such as `https://NAMESPACE.servicebus.windows.net/.default`.
    /// Blocks for some seconds at most.
    ///
    /// The error says what was asked and what came back, never a token.
    pub(super) fn fetch(&self, scope: &str) -> Result<Fetched, String> {
        let failed = |why: String| format!("{self}: {why}");
        let (status, body) = self.ask(scope).map_err(failed)?;
        let json: Option<Value> = serde_json::from_slice(&body).ok();
        if status != 200 {
            let code = json.as_ref().and_then(error_code).unwrap_or_default();
            return Err(failed(format!("status {status} {code}").trim_end().to_owned()));
        }
        let json = json.ok_or_else(|| failed("the answer is no JSON".to_owned()))?;
        read_answer(&json, SystemTime::now()).map_err(failed)
    }

    fn ask(&self, scope: &str) -> Result<(u16, Vec<u8>), String> {
        // A managed identity is asked for the resource that the scope is made of.
        let resource = scope.strip_suffix("/.default").unwrap_or(scope);
        let answer = match self {
            TokenSource::WorkloadIdentity { file, authority, tenant, client } => {
                let assertion = secret::read(file)?;
                let url = format!("{authority}/{tenant}/oauth2/v2.0/token");
                agent(authority.starts_with("https:")).post(url).send_form([
                    ("client_id", client.as_str()),
                    ("scope", scope),
                    ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                    ("client_assertion", &assertion),
                    ("grant_type", "client_credentials"),
                ])
            }
            TokenSource::AppService { endpoint, header, client } => {
                let request = agent(false).get(endpoint).query("api-version", "2019-08-01");
                let request = request.header("X-IDENTITY-HEADER", header.value());
                with_client(request.query("resource", resource), client.as_deref()).call()
            }
            TokenSource::Imds { client } => {
                let request = agent(false).get(IMDS).query("api-version", "2018-02-01");
                let request = request.header("Metadata", "true");
                with_client(request.query("resource", resource), client.as_deref()).call()
            }
        };
        let mut answer = answer.map_err(|error| error.to_string())?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        Ok((answer.status().as_u16(), body.map_err(|error| error.to_string())?))
    }
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenSource::WorkloadIdentity { authority, tenant, client, .. } => {
                write!(f, "workload identity (client {client}, tenant {tenant} at {authority})")
            }
            TokenSource::AppService { endpoint, .. } => write!(f, "managed identity at {endpoint}"),
            TokenSource::Imds { .. } => f.write_str("managed identity of the machine (169.254.169.254)"),
        }
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fetched {{ life: {:?}, .. }}", self.life)
    }
}

/// The values of all these variables, or the names of those that have none.
fn all_of<const N: usize>(
    names: [&str; N],
    get: impl Fn(&str) -> Option<String>,
) -> Result<[String; N], String> {
    let missing: Vec<&str> = names.iter().copied().filter(|name| get(name).is_none()).collect();
    if missing.is_empty() {
        Ok(names.map(|name| get(name).unwrap_or_default()))
    } else {
        Err(missing.join(", "))
    }
}

/// An address that a token may come from: https, or http where no network lies between.
fn allowed(name: &str, url: &str, near: impl Fn(&IpAddr) -> bool) -> Result<(), String> {
    let host = url.parse::<http::Uri>().ok().and_then(|uri| {
        let host = uri.host()?.trim_matches(['[', ']']).to_owned();
        Some((uri.scheme_str()?.to_owned(), host))
    });
    let fine = host.is_some_and(|(scheme, host)| match scheme.as_str() {
        "https" => true,
        "http" => host == "localhost" || host.parse().is_ok_and(|ip| near(&ip)),
        _ => false,
    });
    if fine {
        return Ok(());
    }
    // A user and a password may stand before the host.
    let shown = if url.contains('@') { "the value" } else { &format!("{url:?}") };
    Err(format!("{name}: {shown} is not allowed; allowed: https://host, or http:// on this machine itself"))
}

fn with_client(
    request: ureq::RequestBuilder<ureq::typestate::WithoutBody>,
    client: Option<&str>,
) -> ureq::RequestBuilder<ureq::typestate::WithoutBody> {
    match client {
        Some(client) => request.query("client_id", client),
        None => request,
    }
}

/// The HTTP client. A proxy of the environment lies on the way to the internet only. Redirects are not
/// followed: they would carry a secret elsewhere.
fn agent(internet: bool) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(REQUEST_MAX))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .max_idle_connections(0)
        .user_agent(concat!("tokenweir/", env!("CARGO_PKG_VERSION")));
    let config = if internet { config.tls_config(tls()) } else { config.proxy(None) };
    config.build().new_agent()
}

/// The system's roots, as for the service itself: a gateway that looks into TLS has its own there.
fn tls() -> ureq::tls::TlsConfig {
    let found = rustls_native_certs::load_native_certs().certs;
    let roots: Vec<_> =
        found.iter().map(|der| ureq::tls::Certificate::from_der(der.as_ref()).to_owned()).collect();
    let config = ureq::tls::TlsConfig::builder();
    // Without roots of a system, as in an image from scratch, those built in.
    let config = if roots.is_empty() { config } else { config.root_certs(roots.into()) };
    config.build()
}

/// The token and its life, from a response of any of the endpoints.
fn read_answer(json: &Value, now: SystemTime) -> Result<Fetched, String> {
    let token = json["access_token"].as_str().filter(|token| !token.is_empty() && !token.contains('\0'));
    let token = token.ok_or("the answer has no access_token")?.to_owned();
    let number = |name: &str| {
        let value = &json[name];
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    };
    let now_s = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let left = |until: u64| until.saturating_sub(now_s);
    let life = number("expires_in").or_else(|| number("expires_on").map(left));
    match life {
        None => Err("the answer does not say for how long the token holds".to_owned()),
        Some(0) => Err("the token had ended when it came".to_owned()),
        Some(life) => Ok(Fetched { token, life: Duration::from_secs(life) }),
    }
}

/// The code of an error: `error`, and the number that support asks for. Nothing else is repeated.
fn error_code(json: &Value) -> Option<String> {
    let word = |text: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        text.chars().take_while(|c| plain(*c)).take(CODE_CHARS_MAX).collect::<String>()
    };
    let code = word(json["error"].as_str().or_else(|| json["error"]["code"].as_str())?);
    let described =
        json["error_description"].as_str().and_then(|text| text.find("AADSTS").map(|at| word(&text[at..])));
    Some(described.map_or(code.clone(), |number| format!("{code} {number}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(given: &[(&str, &str)]) -> Result<TokenSource, String> {
        TokenSource::from_env(|name| {
            given.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_picks_the_source_in_order() {
        let workload = [
            ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/token"),
            ("AZURE_TENANT_ID", "tenant"),
            ("AZURE_CLIENT_ID", "client"),
            ("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi"),
            ("IDENTITY_HEADER", "hush"),
        ];
        let text = from(&workload).unwrap().to_string();
        assert!(text.contains("client client, tenant tenant at https://login.microsoftonline.com"), "{text}");
        assert!(matches!(from(&workload[2..]).unwrap(), TokenSource::AppService { client: Some(_), .. }));
        assert!(!format!("{:?}", from(&workload[2..])).contains("hush"));
        assert_eq!(from(&workload[2..3]).unwrap(), TokenSource::Imds { client: Some("client".to_owned()) });
        assert_eq!(from(&[]).unwrap(), TokenSource::Imds { client: None });
    }

    #[test]
    fn what_is_missing_is_named() {
        for (given, missing) in [
            (vec![("AZURE_FEDERATED_TOKEN_FILE", "f")], "not set: AZURE_TENANT_ID, AZURE_CLIENT_ID"),
            (vec![("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c")], "not set: AZURE_FEDERATED_TOKEN_FILE"),
            (vec![("IDENTITY_ENDPOINT", "http://localhost/")], "not set: IDENTITY_HEADER"),
            (vec![("IDENTITY_HEADER", "h")], "not set: IDENTITY_ENDPOINT"),
        ] {
            let error = from(&given).unwrap_err();
            assert!(error.contains(missing), "{error}");
        }
    }

    #[test]
    fn a_secret_goes_in_plain_text_only_where_no_network_lies_between() {
        let authority = |url| {
            from(&[
                ("AZURE_FEDERATED_TOKEN_FILE", "f"),
                ("AZURE_TENANT_ID", "t"),
                ("AZURE_CLIENT_ID", "c"),
                ("AZURE_AUTHORITY_HOST", url),
            ])
        };
        for (url, fine) in [
            ("https://login.microsoftonline.us/", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080", true),
            ("http://localhost:8080", true),
            ("http://login.microsoftonline.com", false),
            ("http://169.254.169.254", false),
            ("http://127.0.0.1.example.org", false),
            ("ftp://localhost", false),
            ("localhost", false),
        ] {
            assert_eq!(authority(url).is_ok(), fine, "{url}");
        }
        let endpoint = |url| from(&[("IDENTITY_ENDPOINT", url), ("IDENTITY_HEADER", "h")]).is_ok();
        assert!(
            endpoint("http://169.254.129.3:8081/msi/token") && endpoint("http://localhost:42356/msi/token")
        );
        assert!(!endpoint("http://10.0.0.1/msi/token"));
    }

    #[test]
    fn answers_of_all_endpoints_are_read() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let read = |text: &str| read_answer(&serde_json::from_str(text).unwrap(), now);
        let life = |text: &str| read(text).map(|fetched| fetched.life.as_secs());
        assert_eq!(life(r#"{"access_token":"t","expires_in":3599}"#), Ok(3_599));
        assert_eq!(life(r#"{"access_token":"t","expires_in":"60","expires_on":"9"}"#), Ok(60));
        assert_eq!(life(r#"{"access_token":"t","expires_on":"1500"}"#), Ok(500));
        assert!(life(r#"{"access_token":"t","expires_on":"999"}"#).unwrap_err().contains("ended"));
        assert!(life(r#"{"access_token":"t"}"#).is_err());
        for bad in [r#"{"access_token":"","expires_in":1}"#, r#"{"expires_in":1}"#, r#"[]"#, r#""t""#] {
            assert!(read(bad).unwrap_err().contains("access_token"), "{bad}");
        }
    }

    #[test]
    fn errors_carry_codes_and_nothing_else() {
        let code = |text: &str| error_code(&serde_json::from_str(text).unwrap());
        let entra =
            r#"{"error":"invalid_client","error_description":"AADSTS70021: No match for eyJhbGciOi.. \r\n"}"#;
        assert_eq!(code(entra).as_deref(), Some("invalid_client AADSTS70021"));
        assert_eq!(code(r#"{"error":{"code":"BadRequest"}}"#).as_deref(), Some("BadRequest"));
        assert_eq!(code(r#"{"error":"oops eyJhbGciOi"}"#).as_deref(), Some("oops"));
        assert_eq!(code(r#"{"message":"x"}"#), None);
    }
}
