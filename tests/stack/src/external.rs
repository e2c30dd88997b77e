//! A Supabase that runs elsewhere.

use std::{
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use sqlx::postgres::PgConnectOptions;

use crate::{StackError, sql};

/// PostgREST reads its schema within a second; a busy one may take longer.
const RELOADED: Duration = Duration::from_secs(30);

/// Waits until the REST layer at `url` has read its schema again: until it
/// knows a function that was made just now, after everything else.
pub(crate) async fn reload(
    database: &PgConnectOptions,
    url: &str,
    service_key: &str,
) -> Result<(), StackError> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let function = format!("ctx0_stack_probe_{}_{number}", process::id());
    let made = format!(
        "create function public.{function}() returns int language sql as 'select 1';
         grant execute on function public.{function}() to service_role;
         notify pgrst, 'reload schema'"
    );
    sql::run(database, &made).await?;
    let known = wait_for(&format!("{url}/rest/v1/rpc/{function}"), service_key).await;
    let dropped = format!("drop function public.{function}(); notify pgrst, 'reload schema'");
    sql::run(database, &dropped).await?;
    known
}

async fn wait_for(function: &str, service_key: &str) -> Result<(), StackError> {
    let client = reqwest::Client::new();
    let deadline = Instant::now() + RELOADED;
    loop {
        let mut request = client
            .post(function)
            .header("apikey", service_key)
            .header("content-type", "application/json")
            .body("{}");
        // A new key goes into `apikey` alone.
        if !service_key.starts_with("sb_") {
            request = request.bearer_auth(service_key);
        }
        let status = request.send().await?.status();
        if status.is_success() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(StackError::NotReloaded { status });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
