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
  # A key for each content: CloudFormation sees a changed function, and earlier zips stay for a rollback.
  keys = { for name, path in local.zips : name => "${var.stack_name}/${name}/${filesha256(path)}.zip" }
  # The folder of each function in the template becomes its zip.
  body = join("\n", [
    for line in split("\n", file(local.template)) :
    length(regexall("CodeUri: target/lambda/[a-z]+/", line)) == 0 ? line :
    "      CodeUri: s3://${var.code_bucket}/${local.keys[regex("target/lambda/([a-z]+)/", line)[0]]}"
  ])
}

data "aws_region" "here" {}

data "aws_partition" "here" {}

resource "aws_s3_object" "zip" {
  for_each = local.functions
  bucket   = var.code_bucket
  key      = local.keys[each.key]
  source   = local.zips[each.key]

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_s3_object" "template" {
  bucket  = var.code_bucket
  key     = "${var.stack_name}/${sha256(local.body)}.yaml"
  content = local.body

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_cloudformation_stack" "logferry" {
  name         = var.stack_name
  template_url = "https://${var.code_bucket}.s3.${data.aws_region.here.name}.${data.aws_partition.here.dns_suffix}/${aws_s3_object.template.key}"
  parameters   = merge({ Architecture = var.architecture }, var.parameters)
  capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
  # A failed creation leaves nothing, instead of a stack that can only be deleted.
  on_failure = "DELETE"
  tags       = var.tags
  depends_on = [aws_s3_object.zip]
}
