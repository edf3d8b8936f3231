# A Coder template: an ECS Fargate task with EFS behind it.
# image = "@NEAR@:aws-coder"     (until 2026-10)
terraform {
  required_providers {
    coder = { source = "coder/coder" }
    aws   = { source = "hashicorp/aws" }
  }
}

variable "image_tag" {
  default = "aws-coder" // the name in the registry, not a reference
}

locals {
  web   = var.web ? "@NEAR@:aws-web" : "@NEAR@:${var.image_tag}"   # trailing: @NEAR@:aws
  other = "ghcr.io/somebody/else:aws"
}

resource "aws_ecs_task_definition" "workspace" {
  family                   = "coder-${data.coder_workspace.me.name}"
  requires_compatibilities = ["FARGATE"]
  container_definitions = jsonencode([{
    name      = "workspace"
    image     =   "@NEAR@:aws-coder"
    essential = true
    environment = [
      { name = "CODER_AGENT_TOKEN", value = coder_agent.main.token },
    ]
    secrets = [{ name = "GITHUB_RUNNER_PAT", valueFrom = aws_secretsmanager_secret.github_runner_pat.arn }]
  }])
}

resource "aws_ecs_task_definition" "runner" {
  family                = "runner"
  container_definitions = <<-JSON
    [{ "name": "runner", "image": "@FAR@:aws@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
       "command": ["sh", "-c", "echo # no comment"] }]
  JSON
}

/* image = "@NEAR@:aws" */
output "page" { value = "https://@NEAR@:aws" }
