use batch_buffer::testing::{StrictLogs, contract};

use crate::NOW_MS;

#[tokio::test]
async fn the_stand_in_keeps_the_contract_of_put_log_events() {
    assert_eq!(
        contract::check(&StrictLogs::at(NOW_MS).empty(), "/contract", NOW_MS).await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn the_contract_notices_an_endpoint_that_takes_everything() {
    let lenient = |_| std::future::ready(Ok(batch_buffer::Accepted::default()));
    assert_eq!(contract::check(&lenient, "/contract", NOW_MS).await.len(), 11);
}
