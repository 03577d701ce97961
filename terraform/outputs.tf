output "api_url" {
  description = "Base URL of the HTTP API."
  value       = aws_cloudformation_stack.logferry.outputs["ApiUrl"]
}

output "admin_key_secret_arn" {
  description = "The secret that holds the admin key."
  value       = aws_cloudformation_stack.logferry.outputs["AdminKeySecretArn"]
}

output "outputs" {
  description = "All outputs of the stack."
  value       = aws_cloudformation_stack.logferry.outputs
}
