//! A function's own binary with its deployed environment, changed where a test needs it, and with the time
//! per event that the test sets.
#![expect(clippy::panic, reason = "a test that cannot go on says why and stops")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::process::{Invoked, Process};
use crate::stack::Stack;

/// A running function. Dropping it ends the process.
#[derive(Debug)]
pub struct Function {
    process: Process,
}

impl Function {
    /// Starts the deployed binary of `name` with the deployed environment, changed by `changes`.
    pub async fn start(stack: &Stack, name: &str, changes: &[(&str, &str)]) -> Function {
        let mut env = deployed_environment(stack, name).await;
        for name in ["AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            env.insert(name.to_owned(), stack.value(name).to_owned());
        }
        env.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let binary = format!("{}/{name}/bootstrap", stack.value("BINARIES"));
        Function { process: Process::start(name, Path::new(&binary), &env).await }
    }

    /// Runs one invocation with this time limit. Returns its result or error.
    pub async fn invoke(&self, payload: &Value, budget: Duration) -> Result<Value, Value> {
        match self.process.invoke(payload, budget).await {
            Invoked::Answered(answer) => Ok(answer),
            Invoked::Failed(error) => Err(error),
            Invoked::Died => panic!("it ended by itself:\n{}", self.process.output()),
        }
    }

    /// Returns all lines of its standard output so far.
    #[must_use]
    pub fn printed(&self) -> Vec<String> {
        self.process.lines()
    }
}

/// Returns the variables that the template sets for a function.
pub async fn deployed_environment(stack: &Stack, name: &str) -> BTreeMap<String, String> {
    let deployed = stack
        .aws
        .lambda()
        .get_function_configuration()
        .function_name(stack.value(&format!("FN_{}", name.to_uppercase())))
        .send()
        .await
        .unwrap_or_else(|error| panic!("GetFunctionConfiguration {name}: {error:?}"));
    let variables = deployed.environment.and_then(|environment| environment.variables);
    variables.unwrap_or_default().into_iter().collect()
}
