//! AlterClientQuotas: key 49.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Changes quotas.
    AlterClientQuotasRequest {
        entries: Vec<EntryData>;
        /// Check, but change nothing.
        validate_only: bool;
    }

    /// See [`AlterClientQuotasRequest::entries`].
    EntryData {
        entity: Vec<EntityData>;
        ops: Vec<OpData>;
    }

    /// See [`EntryData::entity`].
    EntityData {
        entity_type: Str;
        entity_name: Option<Str>;
    }

    /// See [`EntryData::ops`].
    OpData {
        key: Str;
        value: f64;
        remove: bool;
    }

    /// Changed or not, entity by entity.
    AlterClientQuotasResponse {
        throttle_time_ms: i32;
        entries: Vec<EntryResult>;
    }

    /// See [`AlterClientQuotasResponse::entries`].
    EntryResult {
        error_code: ErrorCode;
        error_message: Option<Str>;
        entity: Vec<EntityResult>;
    }

    /// See [`EntryResult::entity`].
    EntityResult {
        entity_type: Str;
        entity_name: Option<Str>;
    }
}
