//! The responses of the admin port.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};

use super::deadline::Deadline;
use super::page::{self, AdminPage, EventBody, LivePage, StreamKind};

/// When one that found no permit may come again: a scrape takes milliseconds, and those that hold a permit
/// without reading lose it after ten seconds.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("10");

const METRICS: &str = "/metrics";
const PAGE: &str = "/";
const EVENTS: &str = "/events";
const CALLS: &str = "/calls";

/// A page, or events without an end.
pub(super) type PageBody = Either<Full<Bytes>, EventBody>;

/// The contents of the pages. The functions must return at once.
pub struct Pages {
    /// The body of `/metrics`.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// The state behind `/readyz`.
    pub readiness: Box<dyn Fn() -> Readiness + Send + Sync>,
    /// The live page, or the setting by which there is none.
    pub page: Result<Arc<LivePage>, AdminPage>,
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
    matches!(request.uri().path(), METRICS | PAGE)
}

/// The response; a stream of events moves the deadline of its connection.
pub(super) fn respond<B>(pages: &Pages, request: &Request<B>, deadline: &Deadline) -> Response<PageBody> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" => {
            let Readiness { ready, accounting_ok } = (pages.readiness)();
            let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let accounting = if accounting_ok { "ok" } else { "degraded" };
            page(status, "application/json", format!("{{\"accounting\": \"{accounting}\"}}\n"))
        }
        METRICS => page(StatusCode::OK, "text/plain; version=0.0.4", (pages.metrics)()),
        PAGE | EVENTS | CALLS => match &pages.page {
            Ok(live) => respond_live(live, request, deadline),
            Err(switch) => text(StatusCode::NOT_FOUND, switch.absence()),
        },
        _ => text(StatusCode::NOT_FOUND, "/ /livez /readyz /metrics\n"),
    }
}

/// The responses that name callers.
fn respond_live<B>(live: &Arc<LivePage>, request: &Request<B>, deadline: &Deadline) -> Response<PageBody> {
    if page::is_foreign(request) {
        let why = "this name is not the admin port's: ask for localhost or its address (a site could have its name lead here)\n";
        return text(StatusCode::FORBIDDEN, why);
    }
    let kind = match request.uri().path() {
        EVENTS => StreamKind::Views,
        CALLS => StreamKind::Calls,
        _ => {
            let (headers, document) = page::document();
            let mut response = Response::new(Either::Left(Full::new(document)));
            *response.headers_mut() = headers;
            return response;
        }
    };
    if page::is_of_another_site(request.headers()) {
        return text(StatusCode::FORBIDDEN, "another site asks\n");
    }
    let body = match live.place() {
        _ if request.method() == Method::HEAD => Either::Left(Full::default()),
        Some(place) => Either::Right(EventBody::new(live, kind, place, deadline.clone())),
        None => return too_many("as many pages as may be are open\n"),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// All permits are taken.
pub(super) fn too_many(why: &'static str) -> Response<PageBody> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, why);
    response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_S);
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<PageBody> {
    page(status, "text/plain", body)
}

fn page(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<PageBody> {
    let mut response = Response::new(Either::Left(Full::new(body.into())));
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
        let response = respond(pages, &request, &Deadline::from_now());
        let status = response.status().as_u16();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(response.into_body().collect()).unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn pages(ready: bool, accounting_ok: bool) -> Pages {
        Pages {
            metrics: Box::new(|| "a_total 1\n".to_owned()),
            readiness: Box::new(move || Readiness { ready, accounting_ok }),
            page: Err(AdminPage::Off),
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
        let refused = respond(&pages, &post, &Deadline::from_now());
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refused.headers()[ALLOW], "GET, HEAD");
        for path in [PAGE, EVENTS, CALLS] {
            let (status, said) = get(&pages, path);
            assert!(status == 404 && said.contains("--admin-page"), "{path}: {said}");
        }
    }
}
