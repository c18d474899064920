//! What a card says of the dense source: its name without this machine's folders, and the licence of its own card.

use std::path::Path;

use coppice_models::hub::RepoId;

use super::CARD;

/// The keys of a card's front matter that state a licence.
const LICENSE_KEYS: [&str; 3] = ["license", "license_name", "license_link"];

/// A checkpoint as others know it.
pub(super) struct Origin {
    /// The Hub's ID where the folder is of the Hub's cache, else the folder's name.
    pub(super) name: String,
    /// Licence keys and values.
    pub(super) license: Vec<(&'static str, String)>,
}

impl Origin {
    pub(super) fn of(folder: &Path) -> Self {
        let card = std::fs::read_to_string(folder.join(CARD)).unwrap_or_default();
        Self { name: name_of(folder), license: license(&card) }
    }
}

fn name_of(folder: &Path) -> String {
    // The cache's snapshots are `models--org--name/snapshots/<commit>`.
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let cached = folder.ancestors().nth(2).and_then(|repository| RepoId::from_folder(&name(repository)));
    let snapshot = folder.parent().is_some_and(|parent| name(parent) == "snapshots");
    cached.filter(|_| snapshot).map_or_else(|| name(&folder), |id| id.as_str().to_owned())
}

/// The licence in a card's front matter; only plain one-line values are taken.
fn license(card: &str) -> Vec<(&'static str, String)> {
    let lines: Vec<&str> = card.lines().skip(1).take_while(|line| line.trim_end() != "---").collect();
    let value = |key: &str| lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let plain = |value: &str| {
        let value = value.trim().trim_matches(['"', '\'']);
        (!value.is_empty() && value.len() < 200 && !value.starts_with(['[', '{', '|', '>', '&', '*'])).then(|| value.to_owned())
    };
    if !card.starts_with("---") {
        return Vec::new();
    }
    LICENSE_KEYS.into_iter().filter_map(|key| Some((key, plain(value(key)?)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_read_from_the_front_matter_alone() {
        let card = "---\nlanguage: en\nlicense: other\nlicense_name: \"stability-ai\"\nlicense_link: [a]\n---\nlicense_link: no\n";
        assert_eq!(license(card), [("license", "other".to_owned()), ("license_name", "stability-ai".to_owned())]);
        assert_eq!(license("license: mit\n"), []);
        assert_eq!(license(""), []);
    }

    #[test]
    fn a_snapshot_of_the_cache_has_its_id_and_others_their_folder() {
        assert_eq!(name_of(Path::new("/c/models--stabilityai--stablelm-2-1_6b/snapshots/abc")), "stabilityai/stablelm-2-1_6b");
        assert_eq!(name_of(Path::new("/home/user/my model")), "my model");
    }
}
