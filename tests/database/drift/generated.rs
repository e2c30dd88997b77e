//! Schemas with expressions that are made up, and changes of one of them.

use std::fmt::Write as _;

use super::{changes::reported, record};
use ctx0_stack::project::Project;

/// How many expressions a schema has of each kind.
const EACH: usize = 8;

/// An expression over the columns of `ctx0_made_up`: a, b int, c varchar, d text, e boolean.
#[derive(Clone)]
enum Made {
    And(Box<Made>, Box<Made>),
    Or(Box<Made>, Box<Made>),
    Not(Box<Made>),
    Flag,
    Equal(&'static str, i32),
    /// A sum or a product of three, and which is computed first.
    Sum(bool, i32),
    OneOf(&'static str, i32),
    Like(&'static str, i32),
    Null(&'static str),
}

/// A sequence of numbers that is the same in each run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % sides
    }

    fn number(&mut self) -> i32 {
        i32::try_from(self.throw(1000)).expect("it fits")
    }

    fn text_column(&mut self) -> &'static str {
        ["c", "d"][usize::from(self.throw(2) == 1)]
    }

    fn expression(&mut self, depth: u32) -> Made {
        let inner = |dice: &mut Self| Box::new(dice.expression(depth - 1));
        match self.throw(if depth == 0 { 6 } else { 12 }) {
            0 => Made::Flag,
            1 => Made::Equal(["a", "b"][usize::from(self.throw(2) == 1)], self.number()),
            2 => Made::Sum(self.throw(2) == 1, self.number()),
            3 => Made::OneOf(self.text_column(), self.number()),
            4 => Made::Like(self.text_column(), self.number()),
            5 => Made::Null(self.text_column()),
            6..=8 => Made::And(inner(self), inner(self)),
            9 | 10 => Made::Or(inner(self), inner(self)),
            _ => Made::Not(inner(self)),
        }
    }

    /// The same with one change, somewhere.
    fn change(&mut self, made: &Made) -> Made {
        match made.clone() {
            Made::And(a, b) => match self.throw(3) {
                0 => Made::Or(a, b),
                1 => Made::And(Box::new(self.change(&a)), b),
                _ => Made::And(a, Box::new(self.change(&b))),
            },
            Made::Or(a, b) => match self.throw(3) {
                0 => Made::And(a, b),
                1 => Made::Or(Box::new(self.change(&a)), b),
                _ => Made::Or(a, Box::new(self.change(&b))),
            },
            Made::Not(a) => *a,
            Made::Flag => Made::Not(Box::new(Made::Flag)),
            Made::Equal(column, number) => Made::Equal(column, number + 1),
            Made::Sum(first, number) => Made::Sum(!first, number),
            Made::OneOf(column, number) => Made::OneOf(column, number + 1),
            Made::Like(column, number) => Made::Like(column, number + 1),
            Made::Null(column) => Made::Not(Box::new(Made::Null(column))),
        }
    }
}

impl Made {
    fn sql(&self) -> String {
        match self {
            Self::And(a, b) => format!("({} and {})", a.sql(), b.sql()),
            Self::Or(a, b) => format!("({} or {})", a.sql(), b.sql()),
            Self::Not(a) => format!("(not {})", a.sql()),
            Self::Flag => "e".to_owned(),
            Self::Equal(column, number) => format!("{column} = {number}"),
            Self::Sum(true, number) => format!("(a + b) * {number} > 0"),
            Self::Sum(false, number) => format!("a + b * {number} > 0"),
            Self::OneOf(column, number) => format!("{column} in ('x', 'it''s (({number}', 'y z')"),
            Self::Like(column, number) => {
                format!("{column}::text || ' ::text' like '%({number})  %'")
            }
            Self::Null(column) => format!("{column} is null"),
        }
    }
}

/// One place in the schema where an expression stands, and the statement that replaces it.
struct Place {
    object: &'static str,
    create: String,
    change: String,
}

fn places(dice: &mut Dice) -> Vec<Place> {
    let mut places = Vec::new();
    for i in 0..EACH {
        let made = dice.expression(3);
        let (was, is) = (made.sql(), dice.change(&made).sql());
        let on = "public.ctx0_made_up";
        let mut place = |object, create: &dyn Fn(&str) -> String, drop: &str| {
            places.push(Place {
                object,
                create: create(&was),
                change: format!("{drop}; {}", create(&is)),
            });
        };
        let table = "table public.ctx0_made_up";
        place(
            table,
            &|made| format!("alter table {on} add constraint check_{i} check ({made})"),
            &format!("alter table {on} drop constraint check_{i}"),
        );
        place(
            table,
            &|made| {
                format!(
                    "create policy policy_{i} on {on} for update using ({made}) with check ({made})"
                )
            },
            &format!("drop policy policy_{i} on {on}"),
        );
        place(
            table,
            &|made| format!("create index ctx0_index_{i} on {on} (({made})) where {made}"),
            &format!("drop index public.ctx0_index_{i}"),
        );
    }
    let made = dice.expression(4);
    let (was, is) = (made.sql(), dice.change(&made).sql());
    let view = |made: &str| {
        format!(
            "create or replace view public.ctx0_view as select a from public.ctx0_made_up where {made}"
        )
    };
    places.push(Place {
        object: "view public.ctx0_view",
        create: view(&was),
        change: view(&is),
    });
    let function = |made: &str| {
        format!(
            "create or replace function public.ctx0_function(a int, b int, c varchar, d text, e boolean) returns boolean stable return {made}"
        )
    };
    places.push(Place {
        object: "function public.ctx0_function(integer,integer,character varying,text,boolean)",
        create: function(&was),
        change: function(&is),
    });
    places
}

/// A schema that is made up; another one for each seed.
pub(super) fn schema(seed: u64) -> String {
    let mut sql =
        "create table public.ctx0_made_up (a int, b int, c varchar, d text, e boolean);\n"
            .to_owned();
    for place in places(&mut Dice(seed)) {
        writeln!(sql, "{};", place.create).expect("a string takes it");
    }
    sql
}

#[tokio::test]
async fn every_change_that_is_made_up_is_reported() {
    for seed in [1, 2] {
        let project = Project::installed().await;
        record(&project, &schema(seed)).await;
        assert_eq!(
            reported(&project, "select 1", false).await,
            "",
            "seed {seed}"
        );
        for place in places(&mut Dice(seed)) {
            let found = reported(&project, &place.change, false).await;
            assert_eq!(
                found, place.object,
                "seed {seed}: {}\n{}",
                place.create, place.change
            );
        }
    }
}
