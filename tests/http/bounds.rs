//! Servers that misbehave: nothing they send makes the client panic, fill its memory or wait
//! longer than configured.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ctx0_schema::Error;
use ctx0_stack::Port;
use flate2::{Compression, write::GzEncoder};
use tokio::io::AsyncWriteExt;

use crate::support::{
    Parrot, build, config, every_text, hasty, http, ledger_to, listen, manager, once, read_request,
    variant,
};

const MIB: usize = 1024 * 1024;
const EMPTY_LEDGER: &str = "[]";

#[tokio::test]
async fn an_answer_of_just_16_mib_is_read() {
    let padded = format!("[{}]", " ".repeat(16 * MIB - 2));
    let server = Parrot::saying([http("200 OK", &[], padded)]).await;
    assert!(manager(&server.url).current_version().await.is_ok());
}

#[tokio::test]
async fn an_answer_of_more_than_16_mib_is_not_read() {
    let padded = format!("[{}]", " ".repeat(16 * MIB - 1));
    is_tried_again(http("200 OK", &[], padded)).await;
}

/// A gateway may compress what PostgREST does not.
#[tokio::test]
async fn a_compressed_answer_is_read_up_to_the_same_bound() {
    let compressed = |body: String| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(body.as_bytes()).unwrap();
        http(
            "200 OK",
            &["Content-Encoding: gzip"],
            encoder.finish().unwrap(),
        )
    };
    let server = Parrot::saying([compressed(ledger_to(2).to_string())]).await;
    let version = manager(&server.url).current_version().await.unwrap();
    assert_eq!(version.get(), 2);
    is_tried_again(compressed(format!("[{}]", " ".repeat(16 * MIB - 1)))).await;
}

#[tokio::test]
async fn an_answer_that_never_ends_is_cut_at_the_bound() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let address = listen(move |mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            read_request(&mut stream).await;
            if counter.load(Ordering::Relaxed) > 0 {
                let _ = stream.write_all(&http("200 OK", &[], EMPTY_LEDGER)).await;
                return;
            }
            let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let mut open = stream.write_all(head).await.is_ok();
            while open {
                counter.fetch_add(0x10000, Ordering::Relaxed);
                open = stream.write_all(&chunk).await.is_ok();
            }
        }
    })
    .await;
    let url = format!("http://{address}");
    assert!(manager(&url).current_version().await.is_ok());
    // What was sent but not read is in the buffers of the system, which hold a few MiB.
    let sent = sent.load(Ordering::Relaxed);
    assert!(16 * MIB < sent && sent < 40 * MIB, "{sent}");
}

#[tokio::test]
async fn an_answer_that_drips_is_cut_at_the_time_limit() {
    let address = listen(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n[")
            .await;
        while stream.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    times_out(&format!("http://{address}")).await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_at_the_time_limit() {
    let address = listen(|mut stream| async move {
        read_request(&mut stream).await;
        read_request(&mut stream).await;
    })
    .await;
    times_out(&format!("http://{address}")).await;
}

#[tokio::test]
async fn a_connection_that_breaks_in_mid_answer_is_tried_again() {
    let whole = http("200 OK", &[], EMPTY_LEDGER);
    for cut in [0, 1, 9, 20, whole.len() - 1] {
        is_tried_again(&whole[..cut]).await;
    }
    is_at_last("ConnectionLost", &whole[..whole.len() - 1]).await;
}

#[tokio::test]
async fn json_that_was_cut_is_a_lost_answer() {
    for cut in [
        r#"[{"version": 1, "migration_name": "001"#,
        "[",
        r#"[{"a":"\u00"#,
    ] {
        is_tried_again(http("200 OK", &[], cut)).await;
        is_at_last("ConnectionLost", http("200 OK", &[], cut)).await;
    }
}

#[tokio::test]
async fn a_length_that_does_not_fit_the_body_is_a_lost_answer() {
    for length in [1, 3, 1_000_000] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        is_tried_again(head + EMPTY_LEDGER).await;
    }
}

#[tokio::test]
async fn what_is_not_http_is_named_as_that() {
    for garbage in [
        b"SSH-2.0-OpenSSH_9.6\r\n".as_slice(),
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
    ] {
        let server = Parrot::saying([garbage]).await;
        let error = hasty(&server.url).check_for_updates().await.unwrap_err();
        assert_eq!(variant(&error), "NotHttp", "{error:?}");
        assert!(!error.is_retryable());
    }
}

#[tokio::test]
async fn damaged_http_is_a_lost_connection() {
    for garbage in [
        b"HTTP/1.1 2000 OK\r\n\r\n".as_slice(),
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: \x01\r\n\r\n[]",
    ] {
        is_at_last("ConnectionLost", garbage).await;
    }
}

#[tokio::test]
async fn a_head_that_never_ends_is_a_lost_connection() {
    let head = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(MIB));
    is_at_last("ConnectionLost", head).await;
}

#[tokio::test]
async fn bytes_that_are_no_text_and_no_json_are_not_supabase() {
    let nulls = vec![0; 100_000];
    let not_utf8 = vec![0xff, 0xfe, 0xc0, 0x80];
    for body in [
        nulls,
        not_utf8,
        b"\xef\xbb\xbf".to_vec(),
        Vec::new(),
        b"hello".to_vec(),
    ] {
        let server = Parrot::saying([http("200 OK", &[], &body)]).await;
        let error = hasty(&server.url).current_version().await.unwrap_err();
        assert!(
            matches!(error, Error::NotSupabase { status: 200, .. }),
            "{error:?}"
        );
        assert!(every_text(&error).len() < 2_000);
    }
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_shown_as_far_as_it_goes() {
    let body = b"{\"code\":\"PGRST301\",\"message\":\"bad \xff\xfe token\"}";
    let server = Parrot::saying([http("401 Unauthorized", &[], body)]).await;
    let error = hasty(&server.url).current_version().await.unwrap_err();
    assert!(matches!(error, Error::KeyRejected { .. }));
    assert!(
        error.to_string().contains("bad \u{fffd}\u{fffd} token"),
        "{error}"
    );
}

#[tokio::test]
async fn json_of_another_shape_is_not_supabase() {
    let deep = "[".repeat(100_000);
    for body in [
        "null",
        "{}",
        "3",
        "\"a\"",
        "[3]",
        "[null]",
        "[[]]",
        "[{}]",
        "{\"a\":1e999}",
    ] {
        let server = Parrot::saying([http("200 OK", &[], body)]).await;
        for error in [
            hasty(&server.url).current_version().await.unwrap_err(),
            hasty(&server.url).status().await.unwrap_err(),
        ] {
            assert!(
                matches!(error, Error::NotSupabase { .. }),
                "{body}: {error:?}"
            );
        }
    }
    is_at_last("ConnectionLost", http("200 OK", &[], deep)).await;
}

#[tokio::test]
async fn a_long_message_is_cut_and_kept_in_one_line() {
    let message = "long\\n\\u0007 ".repeat(100_000);
    let body = format!("{{\"code\":\"PT418\",\"message\":\"{message}\"}}");
    for (status, body) in [("418 Teapot", body.as_str()), ("503 Busy", &message)] {
        let server = Parrot::saying([http(status, &[], body)]).await;
        let text = hasty(&server.url)
            .current_version()
            .await
            .unwrap_err()
            .to_string();
        assert!(
            text.len() < 1_000 && !text.contains(char::is_control),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_unreachable() {
    let port = Port::reserve().unwrap();
    let url = format!("http://127.0.0.1:{}", port.number());
    let error = hasty(&url).current_version().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(error.is_retryable());
    let error = hasty(&url).apply_all_pending().await.unwrap_err().error;
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_asks_for_no_delay_is_asked_again_at_once() {
    let busy = http("503 Busy", &["Retry-After: 0"], "");
    // The usual wait is never below 100 ms, while a busy computer may take as long now and then.
    for _ in 0..50 {
        let server = Parrot::saying([&busy, &http("200 OK", &[], EMPTY_LEDGER)]).await;
        let manager = manager(&server.url);
        let started = Instant::now();
        manager.current_version().await.unwrap();
        if started.elapsed() < Duration::from_millis(100) {
            return;
        }
    }
    panic!("it was never asked at once");
}

#[tokio::test]
async fn a_server_that_always_asks_for_no_delay_gets_no_storm() {
    let busy = http("503 Busy", &["Retry-After: 0"], "");
    let server = Parrot::saying([&busy, &busy, &http("200 OK", &[], EMPTY_LEDGER)]).await;
    let started = Instant::now();
    manager(&server.url).current_version().await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(100));
    assert_eq!(server.requests(), 3);
}

#[tokio::test]
async fn a_server_that_names_a_delay_is_not_asked_before() {
    let busy = http("429 Slow down", &["Retry-After: 1"], "");
    let server = Parrot::saying([busy, http("200 OK", &[], EMPTY_LEDGER)]).await;
    let started = Instant::now();
    assert!(manager(&server.url).current_version().await.is_ok());
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_delay_beyond_the_deadline_ends_it_at_once() {
    for delay in ["99999", "4294967296", "18446744073709551615"] {
        let header = format!("Retry-After: {delay}");
        let server = Parrot::saying([http("503 Busy", &[&header], "")]).await;
        let started = Instant::now();
        manager(&server.url).current_version().await.unwrap_err();
        assert_eq!(server.requests(), 1, "{delay}");
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test]
async fn a_delay_that_is_no_number_is_as_good_as_none() {
    for delay in [
        "",
        "soon",
        "-1",
        "1.5",
        "0x10",
        "Wed, 21 Oct 2026 07:28:00 GMT",
        "\u{ff}",
    ] {
        let header = format!("Retry-After: {delay}");
        is_tried_again(http("503 Busy", &[&header], "")).await;
    }
}

#[tokio::test]
async fn no_limit_at_all_is_a_limit_too() {
    let with_limits_of = |limit, url: &str| {
        build(
            config(url)
                .connect_timeout(limit)
                .request_timeout(limit)
                .retry_deadline(limit)
                .apply_deadline(limit),
        )
    };
    let busy = http("503 Busy", &[], "");
    let server = Parrot::saying([busy, http("200 OK", &[], EMPTY_LEDGER)]).await;
    let endless = with_limits_of(Duration::MAX, &server.url);
    assert!(endless.current_version().await.is_ok());
    assert!(endless.apply_all_pending().await.is_err());
    // One that answers could do so before the clock has moved.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let none = with_limits_of(Duration::ZERO, &url);
    assert!(none.current_version().await.unwrap_err().is_retryable());
}

/// Expects that a read that is answered like this is made again, and then has its result.
async fn is_tried_again(answer: impl AsRef<[u8]>) {
    let server = Parrot::saying([answer.as_ref(), &http("200 OK", &[], EMPTY_LEDGER)]).await;
    let version = manager(&server.url).current_version().await.unwrap();
    assert_eq!((version.get(), server.requests()), (0, 2));
}

/// Expects that a read that is always answered like this ends with this error.
async fn is_at_last(wanted: &str, answer: impl AsRef<[u8]>) {
    let server = Parrot::saying([answer]).await;
    let error = hasty(&server.url).check_for_updates().await.unwrap_err();
    assert_eq!(variant(&error), wanted, "{error:?}");
    assert!(error.is_retryable());
}

/// Expects a read that is never answered to end not long after the time limit.
async fn times_out(url: &str) {
    let started = Instant::now();
    let limit = Duration::from_millis(200);
    let manager = build(once(config(url)).request_timeout(limit));
    let error = manager.check_for_updates().await.unwrap_err();
    assert!(
        matches!(error, Error::Timeout { timeout, .. } if timeout == limit),
        "{error:?}"
    );
    assert!(error.is_retryable());
    assert!(started.elapsed() < Duration::from_secs(20));
}
