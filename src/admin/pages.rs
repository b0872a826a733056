//! The responses of the admin port.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

/// When a scrape that found no permit may come again: a scrape takes milliseconds, and those that hold a permit
/// without reading lose it after ten seconds.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("10");

const METRICS: &str = "/metrics";

/// The contents of the pages. Both functions must return at once.
pub struct Pages {
    /// The body of `/metrics`.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// The state behind `/readyz`.
    pub readiness: Box<dyn Fn() -> Readiness + Send + Sync>,
}

/// Whether calls should be sent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Calls are accepted and forwarded.
    pub ready: bool,
    /// Every event can be stored.
    pub accounting_ok: bool,
}

/// The response may be longer than what the kernel takes at once, so it has to be read.
pub(super) fn is_long<B>(request: &Request<B>) -> bool {
    request.uri().path() == METRICS
}

pub(super) fn respond<B>(pages: &Pages, request: &Request<B>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return page(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned());
    }
    match request.uri().path() {
        "/livez" => page(StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/readyz" => {
            let Readiness { ready, accounting_ok } = (pages.readiness)();
            let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let accounting = if accounting_ok { "ok" } else { "degraded" };
            page(status, "application/json", format!("{{\"accounting\": \"{accounting}\"}}\n"))
        }
        METRICS => page(StatusCode::OK, "text/plain; version=0.0.4", (pages.metrics)()),
        _ => page(StatusCode::NOT_FOUND, "text/plain", "/livez /readyz /metrics\n".to_owned()),
    }
}

/// All permits for scrapes are taken.
pub(super) fn too_many() -> Response<Full<Bytes>> {
    let mut response =
        page(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "too many scrapes at once\n".to_owned());
    response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_S);
    response
}

fn page(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    fn get(pages: &Pages, path: &str) -> (u16, String) {
        let request = Request::get(path).body(()).unwrap();
        let response = respond(pages, &request);
        let status = response.status().as_u16();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(response.into_body().collect()).unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn pages(ready: bool, accounting_ok: bool) -> Pages {
        Pages {
            metrics: Box::new(|| "a_total 1\n".to_owned()),
            readiness: Box::new(move || Readiness { ready, accounting_ok }),
        }
    }

    #[test]
    fn readiness_is_about_traffic_and_says_how_accounting_does() {
        assert_eq!(get(&pages(true, true), "/readyz"), (200, "{\"accounting\": \"ok\"}\n".to_owned()));
        assert_eq!(get(&pages(true, false), "/readyz").0, 200);
        assert_eq!(get(&pages(false, true), "/readyz").0, 503);
    }

    #[test]
    fn the_pages_are_there() {
        let pages = pages(true, true);
        assert_eq!(get(&pages, "/livez").0, 200);
        assert_eq!(get(&pages, "/metrics").1, "a_total 1\n");
        assert_eq!(get(&pages, "/nothing").0, 404);
        let post = Request::post("/livez").body(()).unwrap();
        assert_eq!(respond(&pages, &post).status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
