//! `/gov` on the node API of a node that serves governance at a listener of its own: says where.

use bytes::Bytes;
use coco_governance::Code;
use coco_protocol::{ApiError, Caller, Mount, Reply, Service};
use http::Request;

use super::error;

/// See the module's text.
pub struct GovElsewhere {
    pub port: u16,
}

impl Service for GovElsewhere {
    fn mount(&self) -> Mount {
        Mount::Path("/gov")
    }

    fn call(&self, _caller: Caller, _request: Request<Bytes>, reply: Reply) {
        let message = format!("this node serves governance at its port {}", self.port);
        reply(ApiError::into_response(error(Code::ResourceNotFound, message)));
    }
}
