//! Which endpoint a path means: `/accounts/{id}:close` means `/accounts/7:close`, with `7` as `id`.

use std::collections::BTreeMap;

use coco_protocol::percent_decoded;

/// What stands in a path where its template has names, decoded.
pub type Params = BTreeMap<String, String>;

/// What a request means.
#[derive(Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// This template, and what its names stand for.
    Found(&'a str, Params),
    /// The path is there, with these methods.
    OtherMethods(Vec<&'a str>),
    None,
}

/// Of several templates of one path, that which spells out more, from the left.
pub fn find<'a>(routes: &'a [(String, String)], method: &str, path: &str) -> Route<'a> {
    let of_path =
        |(of, template): &'a (String, String)| Some((of.as_str(), template.as_str(), params(template, path)?));
    let matching: Vec<_> = routes.iter().filter_map(of_path).collect();
    let (of_method, others): (Vec<_>, Vec<_>) = matching.into_iter().partition(|(of, ..)| *of == method);
    let best = of_method.into_iter().min_by_key(|(_, template, _)| vagueness(template));
    match best {
        Some((_, template, params)) => Route::Found(template, params),
        None if others.is_empty() => Route::None,
        None => Route::OtherMethods(others.into_iter().map(|(method, ..)| method).collect()),
    }
}

fn vagueness(template: &str) -> Vec<bool> {
    template.split('/').map(|part| part.contains('{')).collect()
}

/// `None` if the path is not of the template's form, or what stands for a name cannot be decoded.
fn params(template: &str, path: &str) -> Option<Params> {
    let (mut params, mut parts) = (Params::new(), path.split('/'));
    for wanted in template.split('/') {
        let part = parts.next()?;
        let Some((before, rest)) = wanted.split_once('{') else {
            if wanted != part {
                return None;
            }
            continue;
        };
        let (name, behind) = rest.split_once('}')?;
        let value = part.strip_prefix(before)?.strip_suffix(behind).filter(|value| !value.is_empty())?;
        params.insert(name.to_owned(), percent_decoded(value)?);
    }
    parts.next().is_none().then_some(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(routes: &[(&str, &str)], method: &str, path: &str) -> String {
        let routes: Vec<_> = routes.iter().map(|(of, path)| ((*of).to_owned(), (*path).to_owned())).collect();
        match find(&routes, method, path) {
            Route::Found(template, params) => format!("{template} {params:?}"),
            Route::OtherMethods(methods) => methods.join(","),
            Route::None => String::new(),
        }
    }

    #[test]
    fn a_path_means_the_endpoint_that_spells_out_most_of_it() {
        let routes = [
            ("GET", "/a/{x}"),
            ("GET", "/a/b"),
            ("POST", "/a/{x}:close"),
            ("GET", "/{x}/{y}/c"),
            ("GET", "/a/{y}/c"),
            ("GET", "/{x}/b/c"),
        ];
        for (method, path, expected) in [
            ("GET", "/a/b", "/a/b {}"),
            ("GET", "/a/%2Fc", "/a/{x} {\"x\": \"/c\"}"),
            ("POST", "/a/7:close", "/a/{x}:close {\"x\": \"7\"}"),
            ("GET", "/a/b/c", "/a/{y}/c {\"y\": \"b\"}"),
            ("GET", "/z/b/c", "/{x}/b/c {\"x\": \"z\"}"),
            ("PUT", "/a/b", "GET,GET"),
            ("GET", "/a", ""),
            ("GET", "/a/", ""),
            ("GET", "/a/b/", ""),
            ("GET", "/a/%zz", ""),
            ("POST", "/a/:close", "GET"),
        ] {
            assert_eq!(found(&routes, method, path), expected, "{method} {path}");
        }
    }
}
