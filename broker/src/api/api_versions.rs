//! What does this broker speak?

use client::wire::kafka::messages::api_versions::*;
use client::wire::kafka::{ApiKey, ErrorCode, Message, Reader};

use super::{Context, Reply, SERVED, encode, read};
use crate::net::connection::Ended;

/// Answered in any version: a client that is too new learns what there is from an answer in the oldest form.
pub(super) fn handle(context: &Context<'_>, reader: Reader) -> Result<Reply, Ended> {
    let version = context.version();
    let is_known = ApiVersionsRequest::VERSIONS.contains(&version);
    let (response, version) = if is_known {
        let request: ApiVersionsRequest = read(context, reader)?;
        let throttle_time_ms = context.charge_time();
        (ApiVersionsResponse { throttle_time_ms, ..answer(&request, version) }, version)
    } else {
        let only_this = vec![range(ApiKey::ApiVersions)];
        let error_code = ErrorCode::UNSUPPORTED_VERSION;
        (ApiVersionsResponse { error_code, api_keys: only_this, ..Default::default() }, 0)
    };
    encode(context, &response, version, Vec::new())
}

fn answer(request: &ApiVersionsRequest, version: i16) -> ApiVersionsResponse {
    let named = |name: &str| version < 3 || is_name(name);
    if !named(&request.client_software_name) || !named(&request.client_software_version) {
        return ApiVersionsResponse { error_code: ErrorCode::INVALID_REQUEST, ..Default::default() };
    }
    let mut keys = SERVED.to_vec();
    keys.sort_unstable();
    let api_keys = keys.into_iter().map(range).collect();
    ApiVersionsResponse { api_keys, finalized_features_epoch: 0, ..Default::default() }
}

fn range(key: ApiKey) -> ApiVersion {
    let versions = key.versions();
    let (min_version, max_version) = (*versions.start(), *versions.end());
    ApiVersion { api_key: key.to_wire(), min_version, max_version }
}

/// Letters and digits, and between them hyphens and dots.
fn is_name(name: &str) -> bool {
    let is_edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    is_edge(name.chars().next()) && is_edge(name.chars().last()) && name.chars().all(is_inner)
}
