# Deploys template.yaml with Terraform: the zips and the template go into a bucket, and CloudFormation does the rest.
# The template stays the only definition of the stack; this module passes parameters to it and returns its outputs.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

locals {
  functions = toset(["presign", "ingest", "flush", "api", "rpc", "health", "sweep"])
  template  = coalesce(var.template, "${path.module}/../template.yaml")
  zips      = { for name in local.functions : name => "${var.zips}/logferry-${var.architecture}-${name}.zip" }
  # A version of a zip in the bucket: CloudFormation sees a changed function.
  code = { for name, zip in aws_s3_object.zip : name => jsonencode({ Bucket = zip.bucket, Key = zip.key, Version = zip.version_id }) }
  body = join("\n", [
    for line in split("\n", file(local.template)) :
    length(regexall("CodeUri: target/lambda/[a-z]+/", line)) == 0 ? line :
    "      CodeUri: ${local.code[regex("target/lambda/([a-z]+)/", line)[0]]}"
  ])
}

data "aws_region" "here" {}

data "aws_partition" "here" {}

# An object is changed in place, and a rollback finds its earlier versions: Terraform deletes them only with the object.
resource "aws_s3_object" "zip" {
  for_each    = local.functions
  bucket      = var.code_bucket
  key         = "${var.stack_name}/${each.key}.zip"
  source      = local.zips[each.key]
  source_hash = filesha256(local.zips[each.key])

  lifecycle {
    postcondition {
      condition     = !contains(["", "null"], coalesce(self.version_id, "null"))
      error_message = "The bucket has no versioning. Without it, a failed update cannot be rolled back."
    }
  }
}

resource "aws_s3_object" "template" {
  bucket  = var.code_bucket
  key     = "${var.stack_name}/template.yaml"
  content = local.body
}

resource "aws_cloudformation_stack" "logferry" {
  name         = var.stack_name
  template_url = "https://${var.code_bucket}.s3.${data.aws_region.here.name}.${data.aws_partition.here.dns_suffix}/${aws_s3_object.template.key}?versionId=${aws_s3_object.template.version_id}"
  parameters   = merge({ Architecture = var.architecture }, var.parameters)
  capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
  # A failed creation leaves nothing, instead of a stack that can only be deleted.
  on_failure = "DELETE"
  tags       = var.tags
}
