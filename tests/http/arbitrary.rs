//! Answers that nobody thought of.

use std::sync::{Arc, Mutex};

use proptest::{prelude::*, test_runner::TestRunner};

use crate::support::{SECRET_KEY, converse, every_text, hasty, listen};

const CASES: u32 = 5_000;

#[test]
fn no_answer_makes_the_client_panic_or_give_the_key_away() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answer = Arc::new(Mutex::new(Vec::new()));
    let said = Arc::clone(&answer);
    let address = runtime.block_on(listen(move |stream| {
        let said = Arc::clone(&said);
        converse(stream, move |_| said.lock().unwrap().clone())
    }));
    let manager = hasty(&format!("http://{address}"));
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..Default::default()
    };
    TestRunner::new(config)
        .run(&answers(), |bytes| {
            *answer.lock().unwrap() = bytes;
            let errors = runtime.block_on(async {
                let check = manager.check_for_updates().await.err();
                let apply = manager.apply_all_pending().await.err();
                [check, apply.map(|failed| failed.error)]
            });
            for error in errors.into_iter().flatten() {
                prop_assert!(!every_text(&error).contains(SECRET_KEY));
                prop_assert!(!error.to_string().contains(char::is_control));
            }
            Ok(())
        })
        .unwrap();
}

/// Whole answers: any status, a few headers of any bytes, and a body that may be PostgREST's.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let status = prop_oneof![
        Just(200_u16),
        Just(404),
        Just(503),
        200..600_u16,
        600..1000_u16,
    ];
    let text = prop_oneof![
        Just(SECRET_KEY.to_owned()),
        "[0-9]{1,20}",
        "postgrest/[0-9]{1,12}",
        "0-9/[0-9]{1,20}",
        "\\PC{0,20}",
    ];
    let name = proptest::sample::select(vec![
        "Retry-After",
        "Content-Range",
        "Location",
        "Server",
        "Content-Type",
        "Proxy-Status",
        "X-Any",
    ]);
    let headers = proptest::collection::vec((name, text), 0..4);
    let code = prop_oneof![
        "PGRST[0-9]{3}",
        "[0-9A-Z]{5}",
        proptest::sample::select(vec!["PGRST205", "42P01", "42501", "57014", "08006"])
            .prop_map(str::to_owned),
        "\\PC{0,30}",
    ];
    let refusal = (code, "\\PC{0,40}").prop_map(|(code, message)| {
        serde_json::json!({"code": code, "message": message + SECRET_KEY}).to_string()
    });
    let body = prop_oneof![
        refusal.prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..64),
        "[\\[\\]{}\":,a-z0-9]{0,40}".prop_map(String::into_bytes),
        Just(b"[]".to_vec()),
    ];
    (status, headers, body).prop_map(|(status, headers, body)| {
        let mut answer = format!(
            "HTTP/1.1 {status} Any\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, text) in headers {
            answer += &format!("{name}: {text}\r\n");
        }
        [answer.as_bytes(), b"\r\n", &body].concat()
    })
}
