//! The six attributes of a person and a person's values for them.

use serde::{Deserialize, Serialize};

/// One of the six things a biography tells, those of bioS (Allen-Zhu & Li, arXiv 2309.14316).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// Day, month and year of birth.
    BirthDate,
    /// The city of birth.
    BirthCity,
    /// The university attended.
    University,
    /// The subject studied.
    Major,
    /// The company worked for.
    Employer,
    /// The city of that company: a function of the employer.
    EmployerCity,
}

impl Attribute {
    /// All six, in the order of [`Facts`].
    pub const ALL: [Self; 6] = [Self::BirthDate, Self::BirthCity, Self::University, Self::Major, Self::Employer, Self::EmployerCity];

    /// The name used in files: `birth_date`, `birth_city`, and so on.
    pub fn name(self) -> &'static str {
        match self {
            Self::BirthDate => "birth_date",
            Self::BirthCity => "birth_city",
            Self::University => "university",
            Self::Major => "major",
            Self::Employer => "employer",
            Self::EmployerCity => "employer_city",
        }
    }
}

/// One value for each attribute, as positions in the attribute's pool ([`super::Pools::answers`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts(pub(super) [usize; 6]);

impl Facts {
    /// The position of the value of `attribute` in its pool.
    pub fn index(&self, attribute: Attribute) -> usize {
        self.0[attribute as usize]
    }
}
