//! Lists of tags, a page at a time (distribution specification, "Listing Tags").

/// Where the list of a repository's tags begins, with pages of so many if the registry wants.
pub fn first_page(path: &str, count: u32) -> String {
    format!("/v2/{path}/tags/list?n={count}")
}

/// Where the next page is: the target of a `Link` header whose relation is `next` (RFC 8288).
pub fn next_page(link: &str) -> Option<&str> {
    let mut rest = link;
    loop {
        let (_, after) = rest.split_once('<')?;
        let (target, after) = after.split_once('>')?;
        // Parameters end where the next link begins.
        let end = after.find('<').unwrap_or(after.len());
        let (parameters, later) = after.split_at(end);
        let is_next = parameters.split([';', ',']).any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            let relations = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel")
                && relations
                    .split_ascii_whitespace()
                    .any(|relation| relation.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target);
        }
        rest = later;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_where_a_link_says() {
        for (link, next) in [
            (
                "</v2/a/tags/list?n=2&last=b>; rel=\"next\"",
                Some("/v2/a/tags/list?n=2&last=b"),
            ),
            (
                "<https://r/v2/a/tags/list?last=b>;rel=next",
                Some("https://r/v2/a/tags/list?last=b"),
            ),
            (
                "<x>; rel=first, <y>; title=\"z\"; REL=\"last Next\"",
                Some("y"),
            ),
            ("<x>; rel=prev", None),
            ("<x", None),
            ("rel=next", None),
            ("", None),
        ] {
            assert_eq!(next_page(link), next, "{link}");
        }
    }
}
