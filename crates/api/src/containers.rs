//! `/containers`, `/exec` and `/commit`.

mod archive;
mod attach;
mod body;
mod commit;
mod create;
mod detach;
mod document;
mod exec;
mod export;
mod inspect;
mod life;
mod line;
mod list;
mod logs;
mod mount;
mod pump;
mod stats;
mod status;
mod view;
mod wait;

pub(crate) use list::with_sizes;

use hyper::Method;

use crate::answer::Answered;
use crate::call::Call;
use crate::error::Failure;
use crate::router::Answering;

/// Answers what begins with `/containers`.
pub(crate) fn route(call: Call) -> Answering {
    Box::pin(answer(call))
}

async fn answer(call: Call) -> Answered {
    let (method, path) = call.line();
    let rest: Vec<&str> = path[1..].iter().map(String::as_str).collect();
    match (&method, &rest[..]) {
        (&Method::GET, ["json"]) => list::list(&call).await,
        (&Method::POST, ["create"]) => create::create(call).await,
        (&Method::POST, ["prune"]) => life::prune(&call).await,
        (&Method::GET, [name, "json"]) => inspect::inspect(&call, name).await,
        (&Method::DELETE, [name]) => life::remove(&call, name).await,
        (&Method::POST, [name, "start"]) => life::start(&call, name).await,
        (&Method::POST, [name, "stop"]) => life::stop(&call, name).await,
        (&Method::POST, [name, "restart"]) => life::restart(&call, name).await,
        (&Method::POST, [name, "kill"]) => life::kill(&call, name).await,
        (&Method::POST, [name, "pause"]) => life::pause(&call, name).await,
        (&Method::POST, [name, "unpause"]) => life::unpause(&call, name).await,
        (&Method::POST, [name, "rename"]) => life::rename(&call, name).await,
        (&Method::POST, [name, "update"]) => life::update(call, name).await,
        (&Method::POST, [name, "resize"]) => life::resize(&call, name).await,
        (&Method::POST, [name, "wait"]) => wait::wait(&call, name),
        (&Method::POST, [name, "attach"]) => attach::attach(call, name).await,
        (&Method::GET, [_, "attach", "ws"]) => Err(Failure::not_implemented(
            "Lapstrake has no attach over a websocket: POST /containers/NAME/attach does the same",
        )),
        (&Method::GET, [name, "logs"]) => logs::logs(&call, name).await,
        (&Method::HEAD, [name, "archive"]) => archive::stat(call, (*name).to_owned()).await,
        (&Method::GET, [name, "archive"]) => archive::get(call, (*name).to_owned()).await,
        (&Method::PUT, [name, "archive"]) => archive::put(call, (*name).to_owned()).await,
        (&Method::GET, [name, "stats"]) => stats::stats(call, (*name).to_owned()).await,
        (&Method::GET, [name, "top"]) => stats::top(call, (*name).to_owned()).await,
        (&Method::GET, [name, "changes"]) => commit::changes(&call, name).await,
        (&Method::GET, [name, "export"]) => export::export(&call, name).await,
        (&Method::POST, [name, "exec"]) => exec::create(call, name).await,
        (&Method::GET | &Method::POST | &Method::DELETE, [_, "checkpoints", ..]) => {
            Err(Failure::not_implemented("checkpoints are not supported"))
        }
        _ => Err(Failure::no_page()),
    }
}

/// Answers what begins with `/exec`.
pub(crate) fn exec(call: Call) -> Answering {
    Box::pin(exec::answer(call))
}

/// Answers `/commit`.
pub(crate) fn commit(call: Call) -> Answering {
    Box::pin(commit::commit(call))
}
