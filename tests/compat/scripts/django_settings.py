"""Settings for Django's own tests; where they connect is in the environment."""

import os

_OPTIONS = {
    "ENGINE": "django.db.backends.mysql",
    "HOST": os.environ["WOLFSCALE_HOST"],
    "PORT": os.environ["WOLFSCALE_PORT"],
    "USER": os.environ["WOLFSCALE_USER"],
    "PASSWORD": os.environ["WOLFSCALE_PASSWORD"],
    "OPTIONS": {"charset": "utf8mb4"},
}
DATABASES = {"default": {**_OPTIONS, "NAME": "django"}, "other": {**_OPTIONS, "NAME": "django_other"}}
SECRET_KEY = "of tests"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
