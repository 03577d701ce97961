variable "code_bucket" {
  description = "Existing bucket with versioning in the region of the stack, for the zips and the template. Keep noncurrent versions for some days: a rollback needs them."
  type        = string
}

variable "zips" {
  description = "Folder with the zips of a release, or of `make package` (dist)."
  type        = string
}

variable "template" {
  description = "The template of the same release. By default the one of the repository that holds this module."
  type        = string
  default     = null
}

variable "stack_name" {
  description = "Name of the CloudFormation stack; a part of all names. At most 30 characters without capitals, or set the parameter LogBucketName."
  type        = string
  default     = "logferry"

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9-]{0,49}$", var.stack_name)) && var.stack_name != "aws"
    error_message = "The name must be a letter and at most 49 letters, digits and hyphens, and not aws."
  }
}

variable "architecture" {
  description = "CPU architecture of the functions and of the zips: x86_64 or arm64."
  type        = string
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "The architecture must be x86_64 or arm64."
  }
}

variable "parameters" {
  description = "Parameters of the template, see docs/operations.md."
  type        = map(string)
  default     = {}
}

variable "tags" {
  description = "Tags of the stack and of its resources."
  type        = map(string)
  default     = {}
}
