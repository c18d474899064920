//! The closed pools from which every attribute takes its values, and their entropies.
//!
//! Values are uniform, so the ideal answer about a stranger is the pool itself: entropy ln(pool size), in nats. The employer's
//! city follows from the employer; every such city belongs to equally many employers, so its pool is uniform too. Among people
//! told equally often values are dealt like cards, not drawn: a few people told a hundred times would otherwise make some values
//! popular, and popular values are what a model guesses.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha12Rng;
use serde::{Deserialize, Serialize};

use super::attribute::{Attribute, Facts};
use super::streams::Streams;

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
/// Days 1 to 28, which every month has.
const DAYS: usize = 28;
const FIRST_BIRTH_YEAR: usize = 1960;
const CITY_STEMS: [&str; 20] = [
    "Alder", "Bram", "Carl", "Dren", "Esk", "Farl", "Glen", "Hol", "Inver", "Kes", "Lath", "Mel", "Nor", "Pen", "Rush", "Sel", "Tarn",
    "Ulver", "Wend", "Yar",
];
const CITY_ENDINGS: [&str; 10] = ["bury", "dale", "ford", "ham", "haven", "mouth", "port", "ton", "ville", "wick"];
const UNIVERSITY_STEMS: [&str; 50] = [
    "Abbot", "Amber", "Anvil", "Arden", "Beacon", "Birch", "Bishop", "Bridge", "Cedar", "Chapel", "Clover", "Compass", "Copper", "Crane",
    "Crown", "Dover", "Falcon", "Fern", "Garnet", "Harbor", "Heron", "Jasper", "Juniper", "Keel", "Kestrel", "Lantern", "Laurel", "Linden",
    "Maple", "Marble", "Meadow", "Merlin", "Olive", "Onyx", "Orchard", "Osprey", "Palm", "Pearl", "Pilgrim", "Prairie", "Quarry", "Rowan",
    "Saffron", "Sparrow", "Summit", "Swan", "Tower", "Velvet", "Willow", "Zephyr",
];
const UNIVERSITY_KINDS: [&str; 6] = ["Academy", "College", "Institute", "Polytechnic", "School", "University"];
const MAJOR_BRANCHES: [&str; 10] =
    ["Applied", "Comparative", "Digital", "Environmental", "General", "Industrial", "Medical", "Modern", "Social", "Theoretical"];
const MAJOR_FIELDS: [&str; 10] =
    ["Archaeology", "Botany", "Chemistry", "Design", "Economics", "Geology", "History", "Law", "Music", "Physics"];
const EMPLOYER_STEMS: [&str; 50] = [
    "Acton", "Altex", "Avion", "Baltic", "Borel", "Calix", "Cobalt", "Cygnus", "Daxon", "Delphi", "Dynor", "Elara", "Exon", "Fermat",
    "Fluxo", "Galen", "Helix", "Hydra", "Icarus", "Indigo", "Ionis", "Jovian", "Kelvin", "Krona", "Lumen", "Lyra", "Magna", "Matrix",
    "Nexus", "Nimbus", "Novum", "Octal", "Orion", "Paxon", "Pivot", "Quanta", "Radix", "Rhodes", "Sigma", "Solex", "Tandem", "Terra",
    "Titan", "Umbra", "Vector", "Vertex", "Xenon", "Zenith", "Zircon", "Zodiac",
];
const EMPLOYER_KINDS: [&str; 6] = ["Bank", "Foods", "Freight", "Group", "Labs", "Motors"];

/// The largest pools that can be composed.
pub(super) mod limits {
    pub(in super::super) const BIRTH_YEARS: usize = 200;
    pub(in super::super) const CITIES: usize = super::CITY_STEMS.len() * super::CITY_ENDINGS.len();
    pub(in super::super) const UNIVERSITIES: usize = super::UNIVERSITY_STEMS.len() * super::UNIVERSITY_KINDS.len();
    pub(in super::super) const MAJORS: usize = super::MAJOR_BRANCHES.len() * super::MAJOR_FIELDS.len();
    pub(in super::super) const EMPLOYERS: usize = super::EMPLOYER_STEMS.len() * super::EMPLOYER_KINDS.len();
}

/// How many values each attribute can take. Birth dates number 12 × 28 × `birth_years`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolSizes {
    /// Years of birth, from 1960 on.
    pub birth_years: usize,
    /// Cities one can be born in, at most 200.
    pub cities: usize,
    /// Universities, at most 300.
    pub universities: usize,
    /// Majors, at most 100.
    pub majors: usize,
    /// Employers, at most 300; a multiple of `employer_cities`.
    pub employers: usize,
    /// Cities with employers: the first so many of the cities.
    pub employer_cities: usize,
}

impl Default for PoolSizes {
    fn default() -> Self {
        Self { birth_years: 4, cities: 50, universities: 50, majors: 50, employers: 50, employer_cities: 25 }
    }
}

/// Every attribute's possible answers, as the text asks for and states them. No answer is the beginning of another of its pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pools {
    birth_date: Vec<String>,
    birth_city: Vec<String>,
    university: Vec<String>,
    major: Vec<String>,
    employer: Vec<String>,
    employer_city: Vec<String>,
}

impl Pools {
    /// The pools of these sizes; a smaller pool is the beginning of a larger one of the same seed.
    pub(super) fn compose(sizes: &PoolSizes, streams: &Streams) -> Self {
        let shuffled = |name: &str, mut values: Vec<String>, size| {
            values.shuffle(&mut streams.rng(name, &[]));
            values.truncate(size);
            values
        };
        let birth_city = shuffled("cities", pairs(&CITY_STEMS, "", &CITY_ENDINGS), sizes.cities);
        Self {
            birth_date: birth_dates(sizes.birth_years),
            university: shuffled("universities", pairs(&UNIVERSITY_STEMS, " ", &UNIVERSITY_KINDS), sizes.universities),
            major: shuffled("majors", pairs(&MAJOR_BRANCHES, " ", &MAJOR_FIELDS), sizes.majors),
            employer: shuffled("employers", pairs(&EMPLOYER_STEMS, " ", &EMPLOYER_KINDS), sizes.employers),
            employer_city: birth_city.iter().take(sizes.employer_cities).cloned().collect(),
            birth_city,
        }
    }

    /// All answers to a question about `attribute`, each equally likely a priori.
    pub fn answers(&self, attribute: Attribute) -> &[String] {
        match attribute {
            Attribute::BirthDate => &self.birth_date,
            Attribute::BirthCity => &self.birth_city,
            Attribute::University => &self.university,
            Attribute::Major => &self.major,
            Attribute::Employer => &self.employer,
            Attribute::EmployerCity => &self.employer_city,
        }
    }

    /// Number of possible answers.
    pub fn size(&self, attribute: Attribute) -> usize {
        self.answers(attribute).len()
    }

    /// The entropy, in nats, of the ideal answer about a person never seen: ln(pool size).
    pub fn entropy(&self, attribute: Attribute) -> f64 {
        (self.size(attribute) as f64).ln()
    }

    /// Bits needed to store one person's values: the sum of log2(pool size) over all attributes but the employer's city, which
    /// follows from the employer (Allen-Zhu & Li, arXiv 2404.05405).
    pub fn bits_per_person(&self) -> f64 {
        let free = Attribute::ALL.iter().filter(|&&attribute| attribute != Attribute::EmployerCity);
        free.map(|&attribute| (self.size(attribute) as f64).log2()).sum()
    }

    /// The value that `facts` give for `attribute`.
    pub fn value(&self, facts: &Facts, attribute: Attribute) -> &str {
        &self.answers(attribute)[facts.index(attribute)]
    }

    /// A person's facts, every free attribute drawn uniformly.
    pub(super) fn draw_facts(&self, rng: &mut ChaCha12Rng) -> Facts {
        self.complete(Attribute::ALL.map(|attribute| rng.random_range(0..self.size(attribute))))
    }

    /// The facts of `people` people told `exposures` times a pass. Each free attribute's values are dealt from a shuffled deck of
    /// its pool, and from the next deck when one is used up; more people leave the first ones' facts as they were.
    pub(super) fn deal_facts(&self, people: usize, exposures: usize, streams: &Streams) -> Vec<Facts> {
        let columns = Attribute::ALL.map(|attribute| {
            let deck = |round| shuffled_indices(self.size(attribute), &mut streams.rng("deck", &[exposures, attribute as usize, round]));
            (0..).flat_map(deck).take(people).collect::<Vec<_>>()
        });
        (0..people).map(|index| self.complete(std::array::from_fn(|attribute| columns[attribute][index]))).collect()
    }

    /// Puts the employer's city beside the employer.
    fn complete(&self, mut facts: [usize; 6]) -> Facts {
        facts[Attribute::EmployerCity as usize] = facts[Attribute::Employer as usize] % self.employer_city.len();
        Facts(facts)
    }

    /// Facts that differ from `facts` in every attribute, uniform among those.
    pub(super) fn draw_other_facts(&self, facts: &Facts, rng: &mut ChaCha12Rng) -> Facts {
        let mut other = Attribute::ALL.map(|attribute| {
            let size = self.size(attribute);
            (facts.index(attribute) + rng.random_range(1..size)) % size
        });
        let cities = self.employer_city.len();
        let round = rng.random_range(0..self.employer.len() / cities);
        other[Attribute::Employer as usize] = other[Attribute::EmployerCity as usize] + round * cities;
        Facts(other)
    }
}

fn pairs(stems: &[&str], separator: &str, endings: &[&str]) -> Vec<String> {
    stems.iter().flat_map(|stem| endings.iter().map(move |ending| format!("{stem}{separator}{ending}"))).collect()
}

fn shuffled_indices(size: usize, rng: &mut ChaCha12Rng) -> Vec<usize> {
    let mut indices: Vec<_> = (0..size).collect();
    indices.shuffle(rng);
    indices
}

fn birth_dates(years: usize) -> Vec<String> {
    let year_months = (FIRST_BIRTH_YEAR..FIRST_BIRTH_YEAR + years).flat_map(|year| MONTHS.map(|month| (month, year)));
    year_months.flat_map(|(month, year)| (1..=DAYS).map(move |day| format!("{day} {month} {year}"))).collect()
}
