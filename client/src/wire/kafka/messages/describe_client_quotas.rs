//! DescribeClientQuotas: key 48.

use crate::wire::kafka::schema::schema;
use crate::wire::kafka::{ErrorCode, Str};

schema! {
    /// Asks for quotas by user, client id and address.
    DescribeClientQuotasRequest {
        components: Vec<ComponentData>;
        /// Only entities that have no components besides those named.
        strict: bool;
    }

    /// See [`DescribeClientQuotasRequest::components`].
    ComponentData {
        entity_type: Str;
        /// 0 exactly this name, 1 the default entity, 2 any.
        match_type: i8;
        /// The name to match; null unless the match is exact.
        match_name: Option<Str>;
    }

    /// The quotas that match.
    DescribeClientQuotasResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str>;
        entries: Option<Vec<EntryData>>;
    }

    /// See [`DescribeClientQuotasResponse::entries`].
    EntryData {
        entity: Vec<EntityData>;
        values: Vec<ValueData>;
    }

    /// See [`EntryData::entity`].
    EntityData {
        entity_type: Str;
        entity_name: Option<Str>;
    }

    /// See [`EntryData::values`].
    ValueData {
        key: Str;
        value: f64;
    }
}
