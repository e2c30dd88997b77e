use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::{
    manifest::Version,
    rpc::LEDGER_TABLE,
    transport::fake::{Fake, Scripted, refusal, response},
};

const LEDGER: Request = Request::Rows {
    table: LEDGER_TABLE,
    above: Version::ZERO,
};
const STATUS: Request = Request::Function {
    name: "ctx0_schema_status",
    arguments: Bytes::new(),
    attempt: None,
};

const POLICY: RetryPolicy = RetryPolicy {
    timeout: Duration::from_secs(35),
    delay: Duration::from_millis(200),
    deadline: Duration::from_secs(30),
    running_deadline: Duration::from_secs(30),
    new_attempts: 0,
};

/// Reads with a timeout of 35 s and a deadline of 30 s; the time that it took is paused time.
async fn run(
    request: &Request,
    queue: impl IntoIterator<Item = Scripted>,
) -> (Result<Response, Error>, Fake, Duration) {
    let fake = Fake::new(queue);
    let started = Instant::now();
    let end = exchange(
        &fake,
        POLICY,
        || request.clone(),
        |response| Ok(Verdict::Done(response)),
        |_, _| {},
        || None,
    )
    .await;
    (end.map_err(Error::from), fake, started.elapsed())
}

#[tokio::test(start_paused = true)]
async fn an_answer_needs_one_request() {
    let (end, fake, _) = run(&LEDGER, [response(200, json!([]))]).await;
    assert_eq!((end.is_ok(), fake.asked().len()), (true, 1));
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_asked_again_with_growing_waits() {
    let (end, fake, _) = run(
        &LEDGER,
        [
            Scripted::Refused,
            Scripted::Lost,
            Scripted::Refused,
            response(200, json!([])),
        ],
    )
    .await;
    assert!(end.is_ok());
    for (wait, longest) in fake.waits().into_iter().zip([200, 400, 800]) {
        let longest = Duration::from_millis(longest);
        // tokio's clock counts whole milliseconds, rounded up.
        assert!(
            longest / 2 <= wait && wait <= longest + Duration::from_millis(1),
            "{wait:?} of {longest:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_will_not_pass_is_asked_once() {
    for code in ["PGRST301", "42501", "PGRST106", "22023"] {
        let (end, fake, _) = run(&LEDGER, [refusal(400, code, None)]).await;
        assert_eq!((end.is_err(), fake.asked().len()), (true, 1), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn asking_ends_at_the_deadline() {
    for scripted in [
        Scripted::Refused,
        Scripted::Lost,
        Scripted::Silent,
        refusal(503, "PGRST002", Some(0)),
    ] {
        let (end, _, took) = run(&LEDGER, [scripted]).await;
        assert!(end.is_err());
        assert!(
            Duration::from_secs(20) < took && took <= Duration::from_secs(31),
            "{took:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_no_delay_gets_one_request_at_once_and_no_storm() {
    let (_, fake, _) = run(&LEDGER, [refusal(503, "PGRST002", Some(0))]).await;
    let waits = fake.waits();
    assert!(waits[0] <= Duration::from_millis(1), "{waits:?}");
    assert!(waits[1] >= Duration::from_millis(100), "{waits:?}");
    assert!(waits.len() < 20, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_a_delay_gets_it() {
    let (end, fake, _) = run(
        &LEDGER,
        [refusal(503, "PGRST002", Some(7)), response(200, json!([]))],
    )
    .await;
    assert!(end.is_ok());
    assert!(fake.waits()[0] >= Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn a_delay_beyond_the_deadline_is_not_waited_for() {
    let (end, fake, took) = run(&LEDGER, [refusal(503, "PGRST002", Some(3600))]).await;
    assert!(matches!(
        end.unwrap_err(),
        Error::DatabaseUnavailable { .. }
    ));
    assert_eq!((fake.asked().len(), took), (1, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn what_loses_its_connection_while_it_runs_is_sent_three_times() {
    let ended = |took| Scripted::Later(took, Box::new(refusal(503, "57P01", None)));
    let (end, fake, _) = run(&STATUS, [ended(Duration::from_secs(2))]).await;
    assert!(matches!(
        end.unwrap_err(),
        Error::DatabaseUnavailable { .. }
    ));
    assert_eq!(fake.asked().len(), 3);

    // After the server was restarted, each connection of the pool is found to be gone.
    let gone = (0..5).map(|_| ended(Duration::from_millis(20)));
    let (end, fake, _) = run(&STATUS, gone.chain([response(200, json!({}))])).await;
    assert_eq!((end.is_ok(), fake.asked().len()), (true, 6));
}

#[tokio::test(start_paused = true)]
async fn a_schema_that_postgrest_may_be_reading_is_waited_for_briefly() {
    let missing = || refusal(404, "PGRST202", None);
    let (end, _, _) = run(&STATUS, [missing(), missing(), response(200, json!({}))]).await;
    assert!(end.is_ok());

    let (end, fake, took) = run(&STATUS, [missing()]).await;
    assert!(matches!(end.unwrap_err(), Error::RpcNotInstalled { .. }));
    assert_eq!(fake.asked().len(), 4);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn the_start_each_retry_and_the_end_are_one_event_each() {
    let log = log::record();
    let (end, _, _) = run(
        &LEDGER,
        [
            Scripted::Refused,
            refusal(503, "PGRST002", Some(7)),
            response(200, json!([])),
        ],
    )
    .await;
    assert!(end.is_ok());
    let events = log.lines();
    assert_eq!(events.len(), 4, "{events:#?}");
    for (event, parts) in events.iter().zip([
        &["request started", "ctx0_schema_versions"][..],
        &[
            "request is retried",
            "requests=1",
            "delay=",
            "could not connect",
        ][..],
        &[
            "request is retried",
            "requests=2",
            "delay=",
            "database is not available",
        ][..],
        &["request ended", "requests=3"][..],
    ]) {
        for part in parts {
            assert!(event.contains(part), "{part}: {event}");
        }
        assert!(event.contains("INFO"), "{event}");
    }
}

/// Records the events of this thread.
mod log {
    use std::{
        io::{self, Write},
        sync::{Arc, LazyLock, Mutex},
    };

    use tracing::{
        Dispatch,
        subscriber::{DefaultGuard, NoSubscriber},
    };

    /// Never used. While a second subscriber is alive, tracing asks all of them about an event that it meets
    /// for the first time. With only one it asks that of the thread, which another test does not have.
    static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    pub(super) struct Log(
        Buffer,
        #[expect(dead_code, reason = "ends the recording")] DefaultGuard,
    );

    pub(super) fn record() -> Log {
        LazyLock::force(&SECOND);
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        Log(buffer, tracing::subscriber::set_default(subscriber))
    }

    impl Log {
        pub(super) fn lines(&self) -> Vec<String> {
            let bytes = self.0.0.lock().unwrap();
            String::from_utf8_lossy(&bytes)
                .lines()
                .map(str::to_owned)
                .collect()
        }
    }

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
