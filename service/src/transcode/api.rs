//! What a server answers over plain HTTP: routes, and the document that tells of them.

use super::{
    openapi,
    table::{BadRule, Table},
};
use bytes::Bytes;
use prost_reflect::DescriptorPool;
use std::sync::{Arc, OnceLock};

/// Why the calls of some services cannot be made over HTTP: a defect of ours.
#[derive(Debug, thiserror::Error)]
pub enum HttpApiError {
    /// The descriptor set is not one.
    #[error("the descriptor set: {0}")]
    Descriptors(#[from] prost_reflect::DescriptorError),
    /// It has no such service.
    #[error("the descriptor set has no service {0}")]
    NoService(String),
    /// An annotation is wrong.
    #[error(transparent)]
    Rule(#[from] BadRule),
}

/// The HTTP side of some services, by default of none; cheap to clone.
#[derive(Clone, Default)]
pub struct HttpApi {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    pool: DescriptorPool,
    services: Vec<String>,
    table: Table,
    document: OnceLock<Bytes>,
}

impl HttpApi {
    /// Reads the annotations of these services.
    ///
    /// # Errors
    /// [`HttpApiError`].
    pub fn new(descriptor_set: &[u8], services: &[&str]) -> Result<Self, HttpApiError> {
        let pool = DescriptorPool::decode(descriptor_set)?;
        let mut table = Table::default();
        for name in services {
            let service = pool.get_service_by_name(name);
            let service = service.ok_or_else(|| HttpApiError::NoService((*name).to_owned()))?;
            for call in service.methods() {
                table.add(&call)?;
            }
        }
        let services = services.iter().map(|name| (*name).to_owned()).collect();
        let document = OnceLock::new();
        Ok(Self { inner: Arc::new(Inner { pool, services, table, document }) })
    }

    /// The OpenAPI 3.1 document, as JSON for people too.
    #[must_use]
    pub fn document(&self) -> Bytes {
        let inner = &self.inner;
        inner.document.get_or_init(|| openapi::write(&inner.pool, inner.table.routes())).clone()
    }

    /// Every call of the services that has no way over HTTP.
    #[must_use]
    pub fn calls_without_route(&self) -> Vec<String> {
        let inner = &self.inner;
        let services =
            inner.services.iter().filter_map(|name| inner.pool.get_service_by_name(name));
        let calls: Vec<_> = services.flat_map(|s| s.methods().collect::<Vec<_>>()).collect();
        let has_route = |name: &str| inner.table.routes().any(|r| r.call.full_name() == name);
        calls
            .iter()
            .map(|call| call.full_name())
            .filter(|name| !has_route(name))
            .map(str::to_owned)
            .collect()
    }

    pub(super) fn table(&self) -> &Table {
        &self.inner.table
    }
}
