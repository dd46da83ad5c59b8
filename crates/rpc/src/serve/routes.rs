//! Which service answers which path of a listener.

use std::sync::Arc;

use coco_protocol::{Mount, Service};

/// The services of one listener. Those mounted on a path own it and all below it; one mounted on a listener owns the rest.
pub(crate) struct Routes {
    /// Longest path first.
    by_path: Vec<(String, Arc<dyn Service>)>,
}

impl Routes {
    pub(crate) fn new(services: Vec<Arc<dyn Service>>) -> Self {
        let path_of = |service: &Arc<dyn Service>| match service.mount() {
            Mount::Path(path) => path.trim_end_matches('/').to_owned(),
            Mount::Ledger(name) => format!("/app/{name}"),
            Mount::Listener(_) => String::new(),
        };
        let mut by_path: Vec<_> = services.into_iter().map(|service| (path_of(&service), service)).collect();
        by_path.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Self { by_path }
    }

    pub(crate) fn service(&self, path: &str) -> Option<&Arc<dyn Service>> {
        let owns = |mounted: &str| {
            path.strip_prefix(mounted)
                .is_some_and(|rest| mounted.is_empty() || rest.is_empty() || rest.starts_with('/'))
        };
        self.by_path.iter().find(|(mounted, _)| owns(mounted)).map(|(_, service)| service)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use coco_protocol::{Caller, Reply};
    use http::Request;

    use super::*;

    struct At(Mount);

    impl Service for At {
        fn mount(&self) -> Mount {
            self.0
        }

        fn call(&self, _caller: Caller, _request: Request<Bytes>, _reply: Reply) {}
    }

    fn mounted(routes: &Routes, path: &str) -> Option<Mount> {
        routes.service(path).map(|service| service.mount())
    }

    #[test]
    fn the_longest_mounted_path_answers_and_names_end_at_a_slash() {
        let mounts = [Mount::Path("/app"), Mount::Path("/app/records"), Mount::Path("/node/")];
        let routes = Routes::new(mounts.iter().map(|mount| Arc::new(At(*mount)) as Arc<dyn Service>).collect());
        assert_eq!(mounted(&routes, "/app/records/7"), Some(mounts[1]));
        assert_eq!(mounted(&routes, "/app/recordsx"), Some(mounts[0]));
        assert_eq!(mounted(&routes, "/node"), Some(mounts[2]));
        assert_eq!(mounted(&routes, "/application"), None);
        assert_eq!(mounted(&routes, "/"), None);
    }

    #[test]
    fn a_service_with_a_listener_of_its_own_answers_every_path() {
        let routes = Routes::new(vec![Arc::new(At(Mount::Listener("ethereum")))]);
        assert!(routes.service("/").is_some());
        assert!(routes.service("/any/path").is_some());
    }
}
