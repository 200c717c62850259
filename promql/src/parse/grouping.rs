//! `by`, `without`, `on`, `ignoring`, `group_left`, `group_right` and `bool`.

use crate::ast::{Cardinality, Grouping, Matching};

use super::parser::{Parsed, Parser};
use super::token::Kind;
use crate::number::go_quote;

impl Parser<'_> {
    /// What may stand behind an operator.
    pub(super) fn modifiers(&mut self) -> Parsed<(bool, Matching)> {
        let return_bool = self.take_if(Kind::Bool)?.is_some();
        let mut matching = Matching {
            labels: Grouping::Without(Vec::new()),
            cardinality: Cardinality::OneToOne,
            include: Vec::new(),
        };
        let on = match self.peek()?.kind {
            Kind::On => true,
            Kind::Ignoring => false,
            _ => return Ok((return_bool, matching)),
        };
        self.take()?;
        let labels = self.labels()?;
        matching.labels = if on {
            Grouping::Only(labels)
        } else {
            Grouping::Without(labels)
        };
        matching.cardinality = match self.peek()?.kind {
            Kind::GroupLeft => Cardinality::ManyToOne,
            Kind::GroupRight => Cardinality::OneToMany,
            _ => return Ok((return_bool, matching)),
        };
        self.take()?;
        let next = self.peek()?;
        if next.kind == Kind::LeftParen || !next.begins_expr() {
            matching.include = self.labels()?;
        }
        Ok((return_bool, matching))
    }

    /// `by (..)` or `without (..)`, if one comes next.
    pub(super) fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let by = match self.peek()?.kind {
            Kind::By => true,
            Kind::Without => false,
            _ => return Ok(None),
        };
        self.take()?;
        let labels = self.labels()?;
        Ok(Some(if by {
            Grouping::Only(labels)
        } else {
            Grouping::Without(labels)
        }))
    }

    /// Label names in parentheses.
    fn labels(&mut self) -> Parsed<Vec<String>> {
        if self.take_if(Kind::LeftParen)?.is_none() {
            return self.unexpected(" in grouping opts, expected \"(\"");
        }
        let mut labels = Vec::new();
        if self.take_if(Kind::RightParen)?.is_some() {
            return Ok(labels);
        }
        loop {
            labels.push(self.label()?);
            if self.take_if(Kind::RightParen)?.is_some() {
                return Ok(labels);
            }
            if self.take_if(Kind::Comma)?.is_none() {
                return self.unexpected(" in grouping opts, expected \",\" or \")\"");
            }
            if self.take_if(Kind::RightParen)?.is_some() {
                return Ok(labels);
            }
        }
    }

    fn label(&mut self) -> Parsed<String> {
        let token = self.peek()?;
        if token.is_label_name() {
            self.take()?;
            return Ok(token.text.to_owned());
        }
        if token.kind != Kind::String {
            return self.unexpected(" in grouping opts, expected label");
        }
        self.take()?;
        let bytes = self.unquoted(token);
        match String::from_utf8(bytes) {
            Ok(name) if !name.is_empty() => Ok(name),
            other => {
                let bytes = other.map_or_else(|error| error.into_bytes(), String::into_bytes);
                let name = go_quote(&bytes);
                self.report(token.span, format!("invalid label name for grouping: {name}"));
                Ok(String::new())
            }
        }
    }
}
