//! From a request to its group, and what every answer gets on its way back.

use std::pin::Pin;
use std::sync::Arc;

use hyper::{Method, Request, StatusCode};

use crate::answer::{self, Answered, Response, Said};
use crate::call::Call;
use crate::daemon::Daemon;
use crate::error::Failure;
use crate::version::Refused;
use crate::{containers, images, networks, system, unsupported, volumes};

/// Answers a request.
pub(crate) async fn answer(daemon: &Arc<Daemon>, request: Request<Said>) -> Response {
    let line = format!("{} {}", request.method(), request.uri().path());
    let answered = match Call::of(daemon, request) {
        Ok(call) => answer_whole(call).await,
        // In words, as Docker has it: an old client may not read our errors.
        Err(old @ Refused::TooOld(_)) => {
            Ok(answer::text(StatusCode::BAD_REQUEST, format!("{old}\n")))
        }
        Err(new @ Refused::TooNew(_)) => Err(Failure::invalid(new.to_string())),
    };
    let mut response = answered.unwrap_or_else(|failure| {
        // What is wrong here, and not with the request, is for whoever looks after the machine too.
        if failure.status == StatusCode::INTERNAL_SERVER_ERROR {
            daemon.say(&format!("{line}: {}", failure.message));
        }
        answer::failure(&failure)
    });
    answer::stamp(&mut response);
    response
}

/// Answers, and does what changes something to its end even if the client goes: a container that was started
/// for somebody who no longer listens is there all the same, and has to be known.
async fn answer_whole(call: Call) -> Answered {
    if matches!(call.method, Method::GET | Method::HEAD) {
        return route(call).await;
    }
    match tokio::spawn(route(call)).await {
        Ok(answered) => answered,
        Err(panicked) => Err(Failure::internal(format!("internal error: {panicked}"))),
    }
}

/// An answer on its way.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// The first part of the path names the group.
fn route(call: Call) -> Answering {
    match call.path.first().map(String::as_str) {
        Some("_ping" | "version" | "info" | "events" | "auth" | "system") => system::route(call),
        Some("images") => images::route(call),
        Some("distribution") => match call.path[1..].split_last() {
            Some((last, name)) if last == "json" && !name.is_empty() => {
                let name = name.join("/");
                Box::pin(images::distribution(call, name))
            }
            _ => now(Err(Failure::no_page())),
        },
        Some("containers") => containers::route(call),
        Some("exec") => containers::exec(call),
        Some("commit") => containers::commit(call),
        Some("volumes") => volumes::route(call),
        Some("networks") => now(networks::route(&call)),
        _ => now(unsupported::route(&call)),
    }
}

/// An answer that is there.
pub(crate) fn now(answered: Answered) -> Answering {
    Box::pin(std::future::ready(answered))
}

#[cfg(test)]
mod tests {
    use crate::asking::Asked;

    async fn check(line: &str, status: u16, body: &str) {
        let answer = Asked::new().ask(line).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.body),
            (status, body),
            "{line}"
        );
    }

    #[tokio::test]
    async fn every_answer_says_what_it_comes_from() {
        for line in [
            "GET /_ping",
            "GET /v1.30/nonsense",
            "GET /v1.99/info",
            "GET /v1.10/info",
        ] {
            let answer = Asked::new().ask(line).await;
            assert_eq!(answer.header("api-version"), "1.50", "{line}");
            assert_eq!(answer.header("docker-experimental"), "false");
            assert_eq!(answer.header("ostype"), "linux");
            assert!(answer.header("server").starts_with("Docker/28.2.2 (linux)"));
        }
    }

    #[tokio::test]
    async fn versions_are_checked_before_anything_else() {
        let too_new = r#"{"message":"client version 1.51 is too new. Maximum supported API version is 1.50"}"#;
        check("GET /v1.51/info", 400, &format!("{too_new}\n")).await;
        let too_old = "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version\n";
        check("GET /v1.23/nonsense", 400, too_old).await;
        let answer = Asked::new().ask("GET /v1.23/info").await;
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        check("GET /v1.24/_ping", 200, "OK").await;
    }

    #[tokio::test]
    async fn what_there_is_not_is_told_with_words() {
        let none = "{\"message\":\"page not found\"}\n";
        for line in [
            "GET /",
            "GET /nonsense",
            "POST /info",
            "GET /v1.41",
            "DELETE /_ping",
        ] {
            check(line, 404, none).await;
        }
        let answer = Asked::new().ask("GET /nonsense").await;
        assert_eq!(answer.header("content-type"), "application/json");
        check("GET /plugins", 200, "[]\n").await;
        let pruned = "{\"CachesDeleted\":null,\"SpaceReclaimed\":0}\n";
        check("POST /build/prune", 200, pruned).await;
        for (line, status) in [
            ("GET /swarm", 503),
            ("POST /swarm/init", 501),
            ("GET /services", 503),
            ("GET /nodes/x", 503),
            ("GET /secrets", 503),
            ("GET /tasks", 503),
            ("GET /configs", 503),
            ("POST /plugins/pull?remote=x", 501),
            ("GET /plugins/x/json", 404),
            ("POST /session", 501),
            ("POST /grpc", 501),
            ("POST /build", 501),
            ("GET /containers/x/checkpoints", 501),
            ("GET /containers/x/attach/ws", 501),
        ] {
            let answer = Asked::new().ask(line).await;
            assert_eq!(answer.status, status, "{line}");
            assert!(answer.json()["message"].is_string(), "{line}");
        }
    }
}
