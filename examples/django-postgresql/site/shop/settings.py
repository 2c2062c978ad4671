import os

DEBUG = True
SECRET_KEY = "only for this machine"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
# The link to `db` gives these variables.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends." + os.environ["DATABASE_ENGINE"],
        **{key: os.environ["DATABASE_" + key] for key in ("HOST", "PORT", "NAME", "USER", "PASSWORD")},
    }
}
