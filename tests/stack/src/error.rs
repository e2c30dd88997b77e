use std::{io, process::ExitStatus};

/// Why the stack could not be started or could not do what was asked of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StackError {
    /// There is no PostgreSQL 15 or newer where the stack looks for one.
    #[error(
        "found no PostgreSQL 15 or newer in PATH or /usr/lib/postgresql: install one \
         (apt-get install postgresql) or name its directory in CTX0_TEST_PG_BIN"
    )]
    NoPostgres,

    /// A program of PostgreSQL failed; `output` is what it wrote.
    #[error("{program} ended with {status}:\n{output}")]
    Program {
        /// The program that failed.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its log or of its standard error.
        output: String,
    },

    /// The server was started, did not end, and answers nobody.
    #[error("the database was not ready within 60 s; the end of its log:\n{log}")]
    NotReady {
        /// The end of the server's log.
        log: String,
    },

    /// The embedded PostgreSQL did not start.
    #[error("the embedded PostgreSQL ended with {0} before it was ready")]
    Embedded(ExitStatus),

    /// A program of this workspace does not build; cargo has said why.
    #[error("cargo {0} failed")]
    Build(String),

    /// The database refused a statement, or the connection broke.
    #[error("the database answered with an error")]
    Sql(#[from] sqlx::Error),

    /// The REST layer could not read the schema.
    #[error("the REST layer cannot load its schema cache")]
    Schema(#[source] Box<postrust_core::Error>),

    /// The external REST layer could not be reached.
    #[error("the external REST layer cannot be reached")]
    Rest(#[from] reqwest::Error),

    /// The external REST layer does not learn what is new in its database.
    #[error(
        "the external REST layer does not know a new function after 30 s, it answers {status}:          does its database belong to CTX0_TEST_DATABASE_URL?"
    )]
    NotReloaded {
        /// The status of the last answer.
        status: axum::http::StatusCode,
    },

    /// This kind of stack cannot do that.
    #[error("this stack cannot {0}")]
    NotHere(&'static str),

    /// An external Supabase was named, but not completely.
    #[error("CTX0_TEST_SUPABASE_URL is set, so {0} has to be set too")]
    Incomplete(&'static str),

    /// A file, a process or a socket could not be had.
    #[error("the operating system refused")]
    Io(#[from] io::Error),
}

impl StackError {
    /// The SQLSTATE of a statement that the database refused.
    pub fn sqlstate(&self) -> Option<String> {
        match self {
            StackError::Sql(error) => Some(error.as_database_error()?.code()?.into_owned()),
            _ => None,
        }
    }
}

impl From<postrust_core::Error> for StackError {
    fn from(error: postrust_core::Error) -> StackError {
        StackError::Schema(Box::new(error))
    }
}
