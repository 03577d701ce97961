//! A DynamoDB table, and requests that its users share.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use logferry_core::model::fault::{Fault, FaultClass};

use crate::faults::fault;
use crate::item::{Item, s};

/// A table with its client.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) client: Client,
    pub(crate) name: String,
}

impl Table {
    pub(crate) fn new(client: Client, name: impl Into<String>) -> Self {
        Self { client, name: name.into() }
    }

    /// Reads one item, strongly consistent.
    pub(crate) async fn get(&self, key: Item) -> Result<Option<Item>, Fault> {
        let get = self.client.get_item().table_name(&self.name).set_key(Some(key)).consistent_read(true);
        Ok(get.send().await.map_err(|error| fault("GetItem", error))?.item)
    }

    /// Reads all items of a partition, in order, strongly consistent.
    pub(crate) async fn partition(&self, pk: &str) -> Result<Vec<Item>, Fault> {
        self.below(pk, "").await
    }

    /// Reads the items of a partition whose sort key has this prefix, in order, strongly consistent.
    pub(crate) async fn below(&self, pk: &str, prefix: &str) -> Result<Vec<Item>, Fault> {
        let query = self.query_below(pk, prefix);
        let items = query.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
        items.map_err(|error| fault("Query", error))
    }

    /// A query for the items of a partition whose sort keys lie between two, strongly consistent.
    pub(crate) fn range(&self, pk: &str, from: String, to: String) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.name)
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", s(pk))
            .expression_attribute_values(":from", s(from))
            .expression_attribute_values(":to", s(to))
    }

    fn query_below(&self, pk: &str, prefix: &str) -> QueryFluentBuilder {
        let query = self.client.query().table_name(&self.name).consistent_read(true);
        let query = query.expression_attribute_values(":pk", s(pk));
        match prefix {
            "" => query.key_condition_expression("pk = :pk"),
            _ => query
                .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
                .expression_attribute_values(":prefix", s(prefix)),
        }
    }
}

/// Turns a failed condition into `false` instead of a fault.
pub(crate) fn applied<T>(result: Result<T, Fault>) -> Result<bool, Fault> {
    match result {
        Ok(_) => Ok(true),
        Err(fault) if fault.class == FaultClass::Conflict => Ok(false),
        Err(fault) => Err(fault),
    }
}
