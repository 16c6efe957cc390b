"""What a notice may say and how: reading its folder, the gates, readability. Pure but for `folder`."""
