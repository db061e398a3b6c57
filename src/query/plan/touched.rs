//! Which permits a plan stands on: what an explanation of a request names.

use super::{NodePlan, ReadPlan, WritePlan};
use crate::model::FieldId;
use crate::policy::Permit;

/// One permit of a plan.
#[derive(Clone, Copy, Debug)]
pub struct Touched<'p> {
    pub permit: &'p Permit,
    /// The fields that the request writes under it.
    pub written: &'p [FieldId],
}

impl ReadPlan {
    /// The permits of the read, embeds and their junctions included: one for each collection.
    pub fn touched(&self) -> Vec<Touched<'_>> {
        let mut found = Vec::new();
        of_node(&self.node, &mut found);
        found
    }
}

impl WritePlan {
    /// The permits of the write and of what it reads: one for each action on each collection.
    pub fn touched(&self) -> Vec<Touched<'_>> {
        let mut found = Vec::new();
        match self {
            WritePlan::Insert(plan) => {
                add(&mut found, &plan.permit, &plan.columns);
                if let Some(update) = plan.conflict.as_ref().and_then(|conflict| conflict.update.as_ref()) {
                    add(&mut found, &update.permit, &update.columns);
                    add(&mut found, &update.read, &[]);
                }
            }
            WritePlan::Update(plan) => {
                add(&mut found, &plan.permit, &plan.columns);
                of_node(&plan.rows, &mut found);
            }
            WritePlan::Delete(plan) => {
                add(&mut found, &plan.permit, &[]);
                of_node(&plan.rows, &mut found);
            }
        }
        if let Some(node) = self.represented() {
            of_node(node, &mut found);
        }
        found
    }
}

fn of_node<'p>(node: &'p NodePlan, found: &mut Vec<Touched<'p>>) {
    add(found, &node.permit, &[]);
    for embed in &node.embeds {
        if let Some(junction) = &embed.junction {
            add(found, junction, &[]);
        }
        of_node(&embed.node, found);
    }
}

fn add<'p>(found: &mut Vec<Touched<'p>>, permit: &'p Permit, written: &'p [FieldId]) {
    let same = |other: &Touched<'_>| {
        (other.permit.collection(), other.permit.action()) == (permit.collection(), permit.action())
    };
    if !found.iter().any(same) {
        found.push(Touched { permit, written });
    }
}
